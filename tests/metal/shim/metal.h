// The Metal language, as far as kernels here use it, in C++: what stands before a kernel's source.
#pragma once
#include "machine.h"
#include "maths.h"
#include "simd.h"

using namespace metal;

// What MLX's own prelude adds.
#define MLX_MTL_CONST static constexpr const
#define MLX_MTL_PRAGMA_UNROLL
#define METAL_FUNC inline

// The address spaces. The word threadgroup is read by the build, because it also makes arrays.
#define device
#define thread
#define constant const
