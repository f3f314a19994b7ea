/* A stand-in for NVIDIA's management library, as far as this project calls it. Its one GPU has 80 GiB; what is in use is read
 * from the file STANDIN (set when it is compiled) at every call: a number of bytes, or a word: "lost", "unknown", or "gone": then
 * there is no driver to open either. Every call adds a byte to the file STANDIN ".reads", and every opening one to STANDIN ".opens", so
 * that a test can wait until it has been asked. With -DSLOW_MS=40 it takes so long
 * to tell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;

enum { SUCCESS = 0, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15, UNKNOWN = 999 };

static void count(const char *path) {
    FILE *file = fopen(path, "a");
    if (!file) return;
    fputc('.', file);
    fclose(file);
}

static void read_word(char word[64]) {
    strcpy(word, "0");
    FILE *file = fopen(STANDIN, "r");
    if (!file) return;
    if (!fgets(word, 64, file)) word[0] = 0;
    fclose(file);
}

int nvmlInit_v2(void) {
    char word[64];
    read_word(word);
    count(STANDIN ".opens");
    return strncmp(word, "gone", 4) ? SUCCESS : DRIVER_NOT_LOADED;
}
int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
int nvmlShutdown(void) { return SUCCESS; }
/* With -DFLEET: a second GPU, parted into two MIG instances of 40 GiB, of which the second has 5 GiB in use by process 4242. */
#ifdef FLEET
enum { GPUS = 2 };
#else
enum { GPUS = 1 };
#endif
static int gpus[2], instances[2];
int nvmlDeviceGetCount_v2(unsigned *count) { *count = GPUS; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index >= GPUS) return NOT_FOUND;
    *device = &gpus[index];
    return SUCCESS;
}

typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process;

#ifdef FLEET
int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) {
    *count = device == &gpus[1] ? 7 : 0;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **part) {
    if (device != &gpus[1] || index >= 2) return NOT_FOUND;
    *part = &instances[index];
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process *list) {
    if (device != &instances[1]) { *count = 0; return SUCCESS; }
    if (*count == 0) { *count = 2; return INSUFFICIENT_SIZE; }
    *count = 2;
    list[0] = (process){ 4242, 5ull << 30, 2, 0 };
    list[1] = (process){ 4243, ~0ull, 2, 0 };
    return SUCCESS;
}
#else
/* Its processes have a GiB each; their ids stand in the file STANDIN ".pids", one to a line. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process *list) {
    (void)device;
    unsigned room = *count, there = 0, pid;
    FILE *file = fopen(STANDIN ".pids", "r");
    for (; file && fscanf(file, "%u", &pid) == 1; there++)
        if (there < room) list[there] = (process){ pid, 1ull << 30, ~0u, ~0u };
    if (file) fclose(file);
    *count = there;
    return there <= room ? SUCCESS : INSUFFICIENT_SIZE;
}
#endif

/* With -DEVENTS: errors of the first GPU, from the file STANDIN ".xids", one number to a line; each is told once. With -DREFUSES they
 * cannot be asked for. Without either the library is older than events. */
#if defined EVENTS || defined REFUSES
typedef struct { void *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } event;
enum { NOT_SUPPORTED = 3, TIMEOUT = 10, XID_CRITICAL_ERROR = 8 };
static long told_to[2];

int nvmlEventSetCreate(void **set) {
    static int next;
    *set = &told_to[next++ % 2];
    return SUCCESS;
}

int nvmlDeviceRegisterEvents(void *device, unsigned long long types, void *set) {
#ifdef REFUSES
    return NOT_SUPPORTED;
#else
    /* A set of the second GPU never tells. */
    *(long *)set = device == &gpus[0] ? 0 : -1;
    return types == XID_CRITICAL_ERROR ? SUCCESS : NOT_SUPPORTED;
#endif
}

int nvmlEventSetWait_v2(void *set, event *told, unsigned timeout_ms) {
    char line[32];
    FILE *file = *(long *)set < 0 || timeout_ms > 0 ? NULL : fopen(STANDIN ".xids", "r");
    if (!file) return TIMEOUT;
    fseek(file, *(long *)set, SEEK_SET);
    int there = fgets(line, sizeof line, file) && strchr(line, '\n');
    if (there) {
        *(long *)set = ftell(file);
        *told = (event){ &gpus[0], XID_CRITICAL_ERROR, strtoull(line, NULL, 10), ~0u, ~0u };
    }
    fclose(file);
    return there ? SUCCESS : TIMEOUT;
}

int nvmlEventSetFree(void *set) { (void)set; return SUCCESS; }
#endif

int nvmlDeviceGetName(void *device, char *name, unsigned length) {
    (void)device;
    snprintf(name, length, "Stand-in GPU");
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    if (device == &instances[0] || device == &instances[1])
        snprintf(uuid, length, "MIG-0000000%d-stand-in", device == &instances[1]);
    else
        snprintf(uuid, length, "GPU-0000000%d-stand-in", device == &gpus[1]);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *memory) {
    if (device == &instances[0] || device == &instances[1]) {
        memory->total = 40ull << 30;
        memory->reserved = 0;
        memory->used = device == &instances[1] ? 5ull << 30 : 0;
        memory->free = memory->total - memory->used;
        return SUCCESS;
    }
    char word[64];
    read_word(word);
    count(STANDIN ".reads");
#ifdef SLOW_MS
    nanosleep(&(struct timespec){ .tv_nsec = SLOW_MS * 1000000l }, NULL);
#endif
    if (!strncmp(word, "lost", 4)) return GPU_IS_LOST;
    if (!strncmp(word, "unknown", 7)) return UNKNOWN;
    if (!strncmp(word, "gone", 4)) return DRIVER_NOT_LOADED;
    memory->total = 80ull << 30;
    memory->reserved = 600ull << 20;
    memory->used = strtoull(word, NULL, 10);
    memory->free = memory->total - memory->used - memory->reserved;
    return SUCCESS;
}
