"""Recurrent networks in bare JAX, the rival of `rlif.toml` and `slstm.toml` beside this file.

    python bench_jax_recurrent.py --cell rlif|slstm [--batch 32 --steps 100 --hidden 128 --iters 20]

One hidden layer with dense recurrence, read out by a leaky neuron without reset; mean squared error over all steps, Adam.
Input products of all steps are one matrix product; the recurrent ones are inside of the scan. All iterations are one
dispatch. Neurons are those of snnTorch 1.0.0 (reset one step late, no gradient through it), except that the spiking LSTM
keeps its state where input and hidden sizes differ.
"""
import sys
cell = sys.argv.pop(sys.argv.index("--cell") + 1); sys.argv.remove("--cell")
from bench_common import args, fused, report, task
a = args("jax")
import jax, jax.numpy as jnp, numpy as np, time
X, Y = map(jnp.asarray, task(a))
H, B = a.hidden, a.batch
draws = np.random.default_rng(a.seed)
uniform = lambda fan, *shape: jnp.asarray(draws.uniform(-1, 1, shape) / np.sqrt(fan), jnp.float32)
gates = 1 if cell == "rlif" else 4
P = dict(w=uniform(1 if cell == "rlif" else H, 1, gates * H), b=uniform(1 if cell == "rlif" else H, gates * H),
         u=uniform(H, H, gates * H), c=uniform(H, gates * H), beta=jnp.full(1, 0.9), w2=uniform(H, H, 1), b2=uniform(H, 1),
         beta2=jnp.full(1, 0.9))


@jax.custom_jvp
def spike(v): return (v > 0).astype(v.dtype)
@spike.defjvp
def _(primals, tangents):
    v, = primals; dv, = tangents
    return spike(v), dv / (1 + 25 * jnp.abs(v)) ** 2


def fired(mem): return jax.lax.stop_gradient((mem > 1).astype(mem.dtype))


def rlif(p, current):
    beta = jnp.clip(p["beta"], 0, 1)
    def step(state, x):
        mem, spk = state
        mem = beta * mem + x + spk @ p["u"] + p["c"] - fired(mem)
        spk = spike(mem - 1)
        return (mem, spk), spk
    return jax.lax.scan(step, (jnp.zeros((B, H)),) * 2, current)[1]


def slstm(p, current):
    def step(state, x):
        syn, mem = state
        i, f, g, o = jnp.split(x + mem @ p["u"] + p["c"], 4, axis=1)
        syn = jax.nn.sigmoid(f) * syn + jax.nn.sigmoid(i) * jnp.tanh(g)
        mem = jax.nn.sigmoid(o) * jnp.tanh(syn)
        return (syn, mem), spike(mem - 1)
    return jax.lax.scan(step, (jnp.zeros((B, H)),) * 2, current)[1]


def loss(p):
    spikes = (rlif if cell == "rlif" else slstm)(p, X @ p["w"] + p["b"])
    beta = jnp.clip(p["beta2"], 0, 1)
    def read(mem, x):
        mem = beta * mem + x
        return mem, mem
    return jnp.mean((jax.lax.scan(read, jnp.zeros((B, 1)), spikes @ p["w2"] + p["b2"])[1] - Y) ** 2)


def one(c, _=None, lr=1e-3, b1=.9, b2=.999, eps=1e-8):
    p, m, v, t = c
    value, g = jax.value_and_grad(loss)(p)
    t = t + 1
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, g)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, g)
    c1, c2 = 1 - b1 ** t, 1 - b2 ** t
    return (jax.tree.map(lambda p, m, v: p - lr * (m / c1) / (jnp.sqrt(v / c2) + eps), p, m, v), m, v, t), value


zeros = lambda: jax.tree.map(jnp.zeros_like, P)
begin = (P, zeros(), zeros(), jnp.float32(0))
run = jax.jit(lambda c: jax.lax.scan(one, c, None, length=a.iters))
clock = time.perf_counter(); _, history = jax.block_until_ready(run(begin)); first = time.perf_counter() - clock
report(f"jax_{cell}", a, first_call_s=round(first, 3), **fused(lambda: jax.block_until_ready(run(begin)), a),
       loss_first=round(float(history[0]), 5), loss_last=round(float(history[-1]), 5), version=jax.__version__)
