"""CUDA autocast's op lists: the dtype of each op. Data only.

The union of PyTorch's documented page and the shipped ``ATen/autocast_mode.h``; names are ``aten``
overloads. Kernels that exist on CUDA only are left out (``CUDA_ONLY``).
"""

from __future__ import annotations

__all__ = [
    "CAST",
    "CUDA_ONLY",
    "FP32",
    "FP32_SET_DTYPE",
    "LOWER_PRECISION",
    "NEWER",
    "NORMS",
    "RECURRENT",
    "WIDEST",
]

LOWER_PRECISION = (
    "_convolution.deprecated",
    "_convolution",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_tbc",
    "conv_transpose1d",
    "conv_transpose2d.input",
    "conv_transpose3d.input",
    "convolution",
    "prelu",
    "addmm",
    "addmv",
    "addr",
    "matmul",
    "einsum",
    "mm",
    "mv",
    "linalg_vecdot",
    "linear",
    "addbmm",
    "baddbmm",
    "bmm",
    "chain_matmul",
    "linalg_multi_dot",
    "lstm_cell",
    "gru_cell",
    "rnn_tanh_cell",
    "rnn_relu_cell",
    "scaled_dot_product_attention",
)
"""Tensor-core ops: floating arguments are cast to half."""

RECURRENT = (
    "lstm.input",
    "lstm.data",
    "gru.input",
    "gru.data",
    "rnn_tanh.input",
    "rnn_tanh.data",
    "rnn_relu.input",
    "rnn_relu.data",
)
"""Layers that are one op on a GPU, ``_cudnn_rnn``, whose arguments autocast casts to half
(``ATen/cudnn/AutocastRNN.cpp``)."""

FP32 = (
    "acos",
    "asin",
    "cosh",
    "erfinv",
    "exp",
    "expm1",
    "log",
    "log10",
    "log2",
    "log1p",
    "reciprocal",
    "rsqrt",
    "sinh",
    "tan",
    "pow.Tensor_Scalar",
    "pow.Tensor_Tensor",
    "pow.Scalar",
    "softplus",
    "layer_norm",
    "native_layer_norm",
    "rms_norm",
    "group_norm",
    "frobenius_norm.dim",
    "nuclear_norm",
    "nuclear_norm.dim",
    "cosine_similarity",
    "poisson_nll_loss",
    "cosine_embedding_loss",
    "nll_loss",
    "nll_loss2d",
    "hinge_embedding_loss",
    "kl_div",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "mse_loss",
    "margin_ranking_loss",
    "multilabel_margin_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "multi_margin_loss",
    "binary_cross_entropy_with_logits",
    "dist",
    "pdist",
    "cdist",
    "renorm",
    "logsumexp",
    "upsample_nearest1d",
    "_upsample_nearest_exact1d",
    "upsample_nearest2d",
    "_upsample_nearest_exact2d",
    "upsample_nearest3d",
    "_upsample_nearest_exact3d",
    "upsample_linear1d",
    "upsample_bilinear2d",
    "_upsample_bilinear2d_aa",
    "upsample_trilinear3d",
    "upsample_bicubic2d",
    "_upsample_bicubic2d_aa",
)
"""Ops that need range or precision: floating arguments are cast to fp32."""

FP32_SET_DTYPE = (
    "prod",
    "prod.dim_int",
    "softmax.int",
    "log_softmax.int",
    "cumprod",
    "cumsum",
    "linalg_vector_norm",
    "linalg_matrix_norm",
    "linalg_matrix_norm.str_ord",
    "sum",
    "sum.dim_IntList",
)
"""Ops with a ``dtype`` argument, which is set to fp32 unless the caller set it."""

NORMS = {
    "norm.Scalar": "norm.ScalarOpt_dtype",
    "norm.ScalarOpt_dim": "norm.ScalarOpt_dim_dtype",
}
"""Norms without a ``dtype`` argument, and the overload called with fp32 instead."""

WIDEST = (
    "addcdiv",
    "addcmul",
    "atan2",
    "bilinear",
    "cross",
    "dot",
    "vdot",
    "grid_sampler",
    "index_put",
    "tensordot",
    "scatter_add",
)
"""Ops of several tensors that must agree: all are cast to the widest floating type among them."""

NEWER = ("rms_norm",)
"""Ops that only later releases than the oldest supported one list; rehearsed with every one."""

CUDA_ONLY = {
    "_cudnn_rnn": "cuDNN's kernel behind lstm, gru and rnn",
    "_thnn_fused_lstm_cell": "CUDA kernel within lstm_cell",
    "_thnn_fused_gru_cell": "CUDA kernel within gru_cell",
    "cudnn_convolution": "cuDNN's kernel behind convolution",
    "cudnn_convolution_transpose": "cuDNN's kernel behind conv_transpose",
    "_scaled_dot_product_flash_attention": "CUDA kernel behind scaled_dot_product_attention",
}
"""Listed ops that have no CPU kernel to rehearse."""

CAST = frozenset(
    f"aten::{name}"
    for names in (LOWER_PRECISION, RECURRENT, FP32, FP32_SET_DTYPE, NORMS, NORMS.values(), WIDEST)
    for name in names
)
"""Full names of all ops whose operands autocast casts, after which it is off within them."""
