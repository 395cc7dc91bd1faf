/* A clock on the wall that a test sets: loaded in front of libc, it shifts what a process is told by so many
 * nanoseconds as stand in the file that MILLSTREAM_TEST_CLOCK names, eight bytes in the machine's order. A monotonic
 * clock goes on as it does. A wait until a time on that clock takes as long as was meant when the time was computed. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

/* Shifts that are told apart, the last ones. */
#define SHIFTS 8

static const int64_t *shift;
static int64_t known[SHIFTS];
static pthread_mutex_t learning = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MILLSTREAM_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        shift = mapped;
    close(file);
}

static int64_t shifted_by(void) {
    int64_t now = shift ? __atomic_load_n(shift, __ATOMIC_RELAXED) : 0;
    if (now == __atomic_load_n(&known[0], __ATOMIC_RELAXED))
        return now;
    pthread_mutex_lock(&learning);
    if (now != known[0]) {
        for (int at = SHIFTS - 1; at > 0; at--)
            __atomic_store_n(&known[at], known[at - 1], __ATOMIC_RELAXED);
        __atomic_store_n(&known[0], now, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&learning);
    return now;
}

static int64_t nanoseconds(const struct timespec *time) { return (int64_t)time->tv_sec * SECOND + time->tv_nsec; }

static void move(struct timespec *time, int64_t by) {
    int64_t all = nanoseconds(time) + by;
    time->tv_sec = all / SECOND;
    time->tv_nsec = all % SECOND;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = (int)syscall(SYS_clock_gettime, clock, time);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        move(time, shifted_by());
    return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *also) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (also)
        *also = now.tv_sec;
    return now.tv_sec;
}

/* The kernel waits by the real clock. What lies within thirty years of the machine's start is monotonic. By which of the
 * shifts a time was computed is not said: nobody waits for long, and they lie far apart. */
static struct timespec real_time(const struct timespec *until) {
    struct timespec real = *until, now;
    if (real.tv_sec > 1000000000) {
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
        int64_t wait = nanoseconds(&real) - nanoseconds(&now), by = known[0];
        for (int at = 1; at < SHIFTS; at++)
            if (llabs(wait - known[at]) < llabs(wait - by))
                by = known[at];
        move(&real, -by);
    }
    return real;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec real = real_time(until);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    return next(cond, mutex, &real);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict until) {
    static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
    struct timespec real = real_time(until);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "cnd_timedwait");
    return next(cond, mutex, &real);
}
