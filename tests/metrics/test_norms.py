import jax.numpy as jnp
import numpy as np

from jaxedit.metrics import weight_norms


def test_norms_by_hand():
    old = np.array([[1.0, -2.0], [0.0, 3.0]], np.float32)
    new = np.array([[1.0, -2.0], [4.0, 0.0]], np.float32)
    got = weight_norms({"w": new}, {"w": old})["w"]
    np.testing.assert_allclose(got, (7 / 4, np.sqrt(21), 7 / 4, 5.0), rtol=1e-6)


def test_bfloat16_weights_are_summed_in_float32():
    old = jnp.full((300, 300), 0.01, jnp.bfloat16)
    new = old.astype(jnp.float32) + 1e-5
    got = weight_norms({"w": new}, {"w": old})["w"]
    np.testing.assert_allclose(got.delta_l1, 1e-5, rtol=1e-3)
    np.testing.assert_allclose(got.l1, float(old[0, 0]) + 1e-5, rtol=1e-5)
