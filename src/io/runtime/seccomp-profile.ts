/**
 * Which system calls a lease may make: what programs of all kinds need, by purpose, and nothing else. The form is
 * that of Docker's profiles, which Podman reads, too. Left out on purpose:
 *
 * - new namespaces (`unshare`, `setns`, flags of `clone`): the door to most kernel exploits of recent years
 * - `mount` and its new relatives, `pivot_root`, `chroot`, swap, quotas, modules, `reboot`, clocks, `kexec`
 * - `ptrace`, `process_vm_*`, `kcmp`, `pidfd_getfd`: looking into other processes
 * - `bpf`, `perf_event_open`, `userfaultfd`, `io_uring_*`, key rings, `open_by_handle_at`: large and often broken
 * - sockets to the hypervisor (AF_VSOCK) and into the kernel's ciphers (AF_ALG), and `socketcall`, which hides both
 */

/** Linux's flags for new namespaces: sched.h. */
const NAMESPACE_FLAGS =
  0x0002_0000 + // mount
  0x0200_0000 + // cgroup
  0x0400_0000 + // host name
  0x0800_0000 + // IPC
  0x1000_0000 + // user
  0x2000_0000 + // pid
  0x4000_0000 // network

const EPERM = 1
/** With this answer glibc falls back from `clone3`, whose flags a filter cannot see, to `clone`. */
const ENOSYS = 38

const AF_ALG = 38
const AF_VSOCK = 40

const FILES = `
  access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
  fadvise64_64 arm_fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64
  fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents
  getdents64 ioctl lchown lchown32 link linkat lseek _llseek lstat lstat64 mkdir mkdirat mknod mknodat
  name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read
  readahead readlink readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat stat64 statfs
  statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 arm_sync_file_range syncfs tee truncate
  truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev cachestat
  getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr
  fremovexattr inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark`

const WAITING = `
  _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
  eventfd eventfd2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4
  io_setup io_submit io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64`

const MEMORY = `
  brk madvise membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal
  msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages map_shadow_stack cacheflush`

const PROCESSES = `
  execve execveat exit exit_group fork vfork getpgid getpgrp getpid getppid getpriority getrusage getsid gettid
  get_robust_list set_robust_list get_thread_area set_thread_area set_tid_address set_tls arch_prctl modify_ldt
  getcpu kill tkill tgkill pause pidfd_open pidfd_send_signal prctl prlimit64 getrlimit setrlimit ugetrlimit
  process_mrelease restart_syscall rseq setpgid setpriority setsid wait4 waitid waitpid ioprio_get ioprio_set
  sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
  sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
  sched_setscheduler sched_yield seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
  sysinfo times uname getrandom riscv_flush_icache breakpoint`

const SIGNALS = `
  rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
  rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn`

const USERS = `
  capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
  getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups
  setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32`

const TIME = `
  alarm clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64
  getitimer setitimer gettimeofday nanosleep time timer_create timer_delete timer_getoverrun timer_gettime
  timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
  timerfd_settime64 adjtimex clock_adjtime clock_adjtime64`

const TALKING = `
  accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg
  send sendmmsg sendmsg sendto setsockopt shutdown socketpair futex futex_time64 futex_waitv futex_wake futex_wait
  futex_requeue ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
  mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat
  shmctl shmdt shmget`

/** What `personality` may set: plain Linux, 32 bits, a version that begins with 2.6; and the question what it is. */
const PERSONALITIES = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff]

const words = (text: string): string[] => text.trim().split(/\s+/)

type Comparison = 'SCMP_CMP_EQ' | 'SCMP_CMP_LT' | 'SCMP_CMP_GT' | 'SCMP_CMP_MASKED_EQ'

const allowIf = (name: string, op: Comparison, value: number) => ({
  names: [name],
  action: 'SCMP_ACT_ALLOW',
  args: [{ index: 0, value, valueTwo: 0, op }],
})

/** Rules of one call are alternatives: so a number is left out by allowing what is below and above it. */
const SOCKETS = [
  allowIf('socket', 'SCMP_CMP_LT', AF_ALG),
  allowIf('socket', 'SCMP_CMP_EQ', AF_ALG + 1),
  allowIf('socket', 'SCMP_CMP_GT', AF_VSOCK),
]

export const SECCOMP_PROFILE = {
  defaultAction: 'SCMP_ACT_ERRNO',
  defaultErrnoRet: EPERM,
  archMap: [
    { architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'] },
    { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
  ],
  syscalls: [
    {
      names: [FILES, WAITING, MEMORY, PROCESSES, SIGNALS, USERS, TIME, TALKING].flatMap(words),
      action: 'SCMP_ACT_ALLOW',
    },
    allowIf('clone', 'SCMP_CMP_MASKED_EQ', NAMESPACE_FLAGS),
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
    ...SOCKETS,
    ...PERSONALITIES.map((value) => allowIf('personality', 'SCMP_CMP_EQ', value)),
  ],
}
