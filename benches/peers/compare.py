"""Prints the table of benches/peers.sh: each row the project's milliseconds, the rival's, and their ratio, in one run."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

peers, venvs, runner = (pathlib.Path(p).resolve() for p in sys.argv[1:4])
rounds = int(sys.argv[4])
here = pathlib.Path(__file__).resolve().parent
experiments = here.parent.parent / "experiments"
cores = sorted(os.sched_getaffinity(0))


def ran(command, n_cores=1):
    """What a command printed; it runs on the last cores of this process."""
    pin = lambda: os.sched_setaffinity(0, cores[-n_cores:])
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          preexec_fn=pin, cwd=peers)
    if done.returncode:
        raise SystemExit(f"{command}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def own(file, *options, seeds="0", jobs=1, iterations=None):
    """Runs an experiment anew: rows of its summary, and wall seconds of the process."""
    with tempfile.TemporaryDirectory() as folder:
        sets = [word for option in options for word in ("--set", option)]
        if iterations:
            sets += ["--set", f"train.iterations={iterations}"]
        begin = time.perf_counter()
        text = ran([runner, file, "--json", "--seeds", seeds, "--jobs", jobs, "--out", f"{folder}/out", *sets], jobs)
        return [json.loads(line) for line in text.splitlines()], time.perf_counter() - begin


def own_ms(file, *options, iterations):
    """Milliseconds an iteration of one trial on one thread, training alone."""
    return 1e3 * own(file, *options, iterations=iterations)[0][0]["duration_s"] / iterations


def rival(stack, script, *options, key):
    """A number that a rival's script prints; none where its environment is missing."""
    python = venvs / stack / "bin" / "python"
    if not python.exists():
        return None
    return json.loads(ran([python, script, *options]).splitlines()[-1])[key]


def least(*measures):
    """The least of several rounds of each measure, taken in turns."""
    values = [[measure() for measure in measures] for _ in range(rounds)]
    return [None if None in column else min(column) for column in zip(*values)]


def row(name, target, ours, theirs, unit="ms"):
    if theirs is None:
        return
    print(f"| {name} | {ours:.4g} {unit} | {theirs:.4g} {unit} | {ours / theirs:.3f} | {target} |", flush=True)


def tutorial(batch, hidden=128):
    options = [f"let.hidden={hidden}", f"data.samples={batch}", f"train.batch={batch}", "train.metrics=[]"]
    return lambda iterations: own_ms(experiments / "sqrt.toml", *options, iterations=iterations)


def jax(*options):
    return lambda: rival("jax", peers / "bench_jax_handwritten.py", "--mode", "fit", *options, key="fused_ms")


print("| what | runner | rival | ratio | target |\n|---|---|---|---|---|")
one = tutorial(1)
row("B = 1, against JAX, one dispatch", "<= 0.5", *least(lambda: one(10000), jax("--iters", 2000)))
for batch, iterations in ((32, 200), (128, 60)):
    mine = tutorial(batch)
    row(f"B = {batch}, against JAX", "<= 0.5; 0.8 with AVX-512",
        *least(lambda: mine(iterations), jax("--batch", batch, "--iters", iterations)))
row("B = 1, against snnTorch", "<= 0.005", *least(lambda: one(10000),
    lambda: rival("torch", peers / "bench_snntorch.py", "--iters", 50, key="iter_ms_min")))
row("B = 1, against SpikingJelly, torch.compile", "<= 0.05", *least(lambda: one(10000),
    lambda: rival("torch", peers / "bench_spikingjelly.py", "--mode", "compile", "--iters", 50, key="iter_ms_min")))
for hidden, iterations in ((512, 40), (1024, 15)):
    mine = tutorial(32, hidden)
    row(f"{hidden} wide, B = 32, against JAX", "<= 0.8",
        *least(lambda: mine(iterations), jax("--batch", 32, "--hidden", hidden, "--iters", iterations)))
for cell in ("rlif", "slstm"):
    row(f"{cell}, H = 128, B = 32, T = 100, against JAX", "< 1", *least(
        lambda: own_ms(here / f"{cell}.toml", iterations=60),
        lambda: rival("jax", here / "bench_jax_recurrent.py", "--cell", cell, "--batch", 32, "--steps", 100,
                      "--iters", 60, key="fused_ms")))


def sweep():
    rows, seconds = own(experiments / "sqrt.toml", "train.metrics=[]", seeds="0..128", jobs=2)
    return 1e3 * seconds / len(rows)


def pmap():
    python = venvs / "jax" / "bin" / "python"
    if not python.exists():
        return None
    text = ran([python, peers / "bench_jax_vmap.py", "--how", "pmap", "--threads", 2, "--seeds", 128], 2)
    return json.loads(text.splitlines()[-1])["ms_per_iter_per_seed_min"] * 100


if len(cores) >= 2:
    row("128 seeds on 2 cores: a trial, against JAX pmap (training only)", "<= 0.5", *least(sweep, pmap))


def whole():
    return 1e3 * own(experiments / "sqrt.toml")[1]


def whole_jax():
    python = venvs / "jax" / "bin" / "python"
    if not python.exists():
        return None
    begin = time.perf_counter()
    ran([python, peers / "tutorial1_jax.py"])
    return 1e3 * (time.perf_counter() - begin)


row("process start to report, against JAX's process", "<= 100 ms", *least(whole, whole_jax))


def bare_start():
    begin = time.perf_counter()
    ran([runner, "--version"])
    return 1e3 * (time.perf_counter() - begin)


print(f"\nstart-up (`runner --version`): {least(bare_start)[0]:.1f} ms (target: under 10)")

