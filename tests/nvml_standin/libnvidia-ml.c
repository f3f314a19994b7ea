/* A stand-in for NVIDIA's management library, as far as this project calls it. Its one GPU has 80 GiB; what is in use is read
 * from the file STANDIN (set when it is compiled) at every call: a number of bytes, or a word: "lost", "unknown". Every call
 * adds a byte to the file STANDIN ".reads", so that a test can wait until it has been asked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;

enum { SUCCESS = 0, NOT_FOUND = 6, GPU_IS_LOST = 15, UNKNOWN = 999 };

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    static int gpu;
    *device = &gpu;
    return index == 0 ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetName(void *device, char *name, unsigned length) {
    (void)device;
    snprintf(name, length, "Stand-in GPU");
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    (void)device;
    snprintf(uuid, length, "GPU-00000000-stand-in");
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *memory) {
    (void)device;
    char word[64] = "0";
    FILE *file = fopen(STANDIN, "r");
    if (file) {
        if (!fgets(word, sizeof word, file)) word[0] = 0;
        fclose(file);
    }
    if ((file = fopen(STANDIN ".reads", "a"))) {
        fputc('.', file);
        fclose(file);
    }
    if (!strncmp(word, "lost", 4)) return GPU_IS_LOST;
    if (!strncmp(word, "unknown", 7)) return UNKNOWN;
    memory->total = 80ull << 30;
    memory->reserved = 600ull << 20;
    memory->used = strtoull(word, NULL, 10);
    memory->free = memory->total - memory->used - memory->reserved;
    return SUCCESS;
}
