# A metric for runner: the largest absolute error at the last step. POSIX shell and awk, nothing else.
# A request is a line of JSON without blanks, its keys in the order that docs/plugins.md shows.

while read -r request; do
    case $request in
    *'"type":"hello"'*) echo '{"type":"hello","protocol":1}' ;;
    *'"type":"describe"'*) echo '{"type":"description","keys":[]}' ;;
    *'"type":"score"'*)
        printf '%s\n' "$request" | awk '
            # The numbers of the last step of `output` or `target`, [[[a,b],[c,d]],[[e,f],[g,h]]].
            function last(name, list,    text, steps, n) {
                text = $0
                sub(".*\"" name "\":\\[\\[\\[", "", text)
                sub("\\]\\]\\].*", "", text)
                n = split(text, steps, "\\]\\],\\[\\[")
                gsub("\\],\\[", ",", steps[n])
                return split(steps[n], list, ",")
            }
            {
                match($0, /"id":[0-9]+/)
                id = substr($0, RSTART + 5, RLENGTH - 5)
                n = last("output", outputs)
                last("target", targets)
                for (i = 1; i <= n; i++) {
                    error = outputs[i] - targets[i]
                    if (error < 0) error = -error
                    if (error > worst) worst = error
                }
                printf "{\"type\":\"score\",\"id\":%d,\"value\":%.9g}\n", id, worst
            }'
        ;;
    *'"type":"shutdown"'*) exit 0 ;;
    *) echo '{"type":"error","message":"unknown request"}' ;;
    esac
done
