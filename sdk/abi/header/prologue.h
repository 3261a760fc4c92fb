// midplane.h: the ABI between the Midplane kernel and a module written in C or C++.
//
// Generated from sdk/abi by scripts/generate-header: do not edit. C11 or C++17, 64-bit targets. README.md beside this file
// has a whole module to start from, modules/hello-c two that are tested.
//
// A module is a shared library with two things in it: MP_MODULE_DESCRIPTOR, which the kernel reads from the file before it
// runs any of its code, and midplane_module_entry. Both stand at the end of this file.
//
@RULES@

#ifndef MIDPLANE_H
#define MIDPLANE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
