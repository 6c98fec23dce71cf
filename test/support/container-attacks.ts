/**
 * Twelve containers that mean harm. Each tries what it can, prints `ESCAPED …` for all that should not have worked and
 * `held: …` for what stopped it, and goes on or ends.
 */
import { MIB, type Plan } from './container-lease.ts'
import { INTERNET, LAN, METADATA, type Neighbours } from './container-neighbours.ts'

export type Attack = { readonly plan: Plan; readonly ends: boolean }

/** Small, so that twelve at once leave the host some of two processors. */
const SMALL = { cpuMilli: 100, memoryBytes: 48 * MIB, diskBytes: 24 * MIB }

export function attacks({ hostAddresses, hostPorts }: Neighbours): Record<string, Attack> {
  const hosts = JSON.stringify(hostAddresses.filter((one) => !one.includes(':')))
  return {
    'fork-bomb': { ...perl('fork while 1;'), ends: false },
    memory: shell(`perl -e 'push @a, "x" x 1048576 while 1'; echo "ended with $?"; exit 137`),
    disk: shell('dd if=/dev/zero of=/hog bs=1M'),
    pids: perl(
      'my $n = 0; while (defined(my $pid = fork)) { if (!$pid) { sleep 1000; exit } $n++ } print "held: $n processes, then: $!\\n";',
    ),
    'host-ports': perl(
      // The gateway of its own network, which is the host, and all other addresses of the host.
      `my ($gateway) = map { /^eth0\\t0+\\t(\\S{8})/ ? join(".", reverse unpack("C4", pack("H8", $1))) : () } lines("/proc/net/route");
       for my $to ($gateway, @{${hosts}}) { knock($to, $_) for (${hostPorts.join(', ')}, 22, 2375, 5432) }
       knock_next_door($gateway, ${hostPorts.join(', ')}, 22);`,
    ),
    metadata: perl(`knock($_, 80) for (${quoted(METADATA)});`),
    lan: perl(
      `knock($_, 80) for (${quoted(LAN)}); print "the internet answers\\n" if reach("${INTERNET}", 80);`,
    ),
    'proc-and-sys': perl(
      `write_to($_) for qw(/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/panic_on_oom
         /proc/sysrq-trigger /proc/sys/fs/binfmt_misc/register /sys/kernel/uevent_helper /sys/kernel/mm/ksm/run
         /sys/fs/cgroup/memory/release_agent /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cgroup.procs
         /proc/1/oom_score_adj /sys/class/net/eth0/mtu);
       read_from($_) for qw(/proc/kcore /proc/keys /proc/timer_list /sys/firmware/acpi/tables/DSDT /dev/mem /dev/kmsg);`,
    ),
    mount: shell(
      [
        tried('mount -t proc none /mnt'),
        tried('mount -t tmpfs none /tmp'),
        tried('mount -o remount,rw /proc/sys'),
        tried('mount --bind / /mnt'),
        tried('mount -t cgroup -o memory none /mnt'),
        tried('umount /proc/kcore'),
        tried('mknod /disk b 254 0 && head -c 1 /disk'),
        tried('mknod /disk2 b 8 0 && head -c 1 /disk2'),
        tried('chroot / true'),
      ].join('\n'),
    ),
    ptrace: perl(
      `if (my $pid = fork) { call("ptrace attach", $number{ptrace}, 16, $pid, 0, 0); call("process_vm_readv", $number{readv}, $pid, 0, 0, 0, 0, 0); kill 9, $pid } else { sleep 1000; exit }
       call("ptrace traceme", $number{ptrace}, 0, 0, 0, 0);
       call("bpf", $number{bpf}, 5, 0, 0); call("io_uring_setup", 425, 1, 0); call("keyctl", $number{keyctl}, 0, -3, 1);
       call("perf_event_open", $number{perf}, 0, 0, -1, -1, 0); call("userfaultfd", $number{userfaultfd}, 0);
       call("kexec_load", $number{kexec}, 0, 0, 0, 0); call("open_by_handle_at", $number{handle}, -1, 0, 0);`,
    ),
    'raw-sockets': perl(
      `sub try { my ($name, @how) = @_; held_or($name, socket(my $s, $how[0], $how[1], $how[2])) }
       try("raw ICMP", 2, 3, 1); try("raw TCP", 2, 3, 6); try("packets", 17, 3, 0x0300); try("kernel ciphers", 38, 5, 0);
       try("hypervisor", 40, 1, 0); try("raw IPv6", 10, 3, 58);`,
    ),
    unshare: shell(
      [
        tried('unshare -U true'),
        tried('unshare -U -r -m true'),
        tried('unshare -m true'),
        tried('unshare -n true'),
        tried('unshare -p -f true'),
        tried('nsenter -t 1 -m true'),
        tried(
          `perl -e 'exit(syscall(${process.arch === 'arm64' ? 220 : 56}, 0x10000011, 0, 0, 0, 0) < 0)'`,
        ),
      ].join('\n'),
    ),
  }
}

const perl = (program: string): Attack => ({
  plan: { ...SMALL, command: ['perl', '-e', `$| = 1; ${HELP} ${program}`] },
  ends: true,
})

const shell = (script: string): Attack => ({ plan: { ...SMALL, script }, ends: true })

const quoted = (words: readonly string[]): string => words.map((word) => `"${word}"`).join(', ')

const tried = (command: string): string =>
  `if said=$(${command} 2>&1); then echo 'ESCAPED by ${command.replaceAll("'", '')}'; else echo "held: $said"; fi`

/** System calls by number: x86-64's and arm64's. */
const NUMBERS =
  process.arch === 'arm64'
    ? 'ptrace => 117, readv => 270, bpf => 280, keyctl => 219, perf => 241, userfaultfd => 282, kexec => 104, handle => 265'
    : 'ptrace => 101, readv => 310, bpf => 321, keyctl => 250, perf => 298, userfaultfd => 323, kexec => 246, handle => 304'

/** Connects within half a second or not; makes calls; tries files. */
const HELP = `
my $knocks = 0;
my %number = (${NUMBERS});
sub lines { open my $f, "<", shift; <$f> }
sub held_or { my ($what, $worked) = @_; print $worked ? "ESCAPED by $what\\n" : "held: $what: $!\\n" }
sub reach { my ($to, $port) = @_; reached(2, pack("S n C4 x8", 2, $port, split /\\./, $to)) }
sub reached {
  my ($family, $address) = @_;
  socket(my $s, $family, 1 | 2048, 0) or return 0;
  connect($s, $address) and return 1;
  # EINPROGRESS
  $! == 115 or return 0;
  my $bits = ""; vec($bits, fileno($s), 1) = 1;
  select(undef, $bits, undef, 0.15) or return 0;
  return unpack("i", getsockopt($s, 1, 4)) == 0;
}
# The host's end of our own bridge has an IPv6 address made of its hardware address, if it has any (RFC 4291).
sub knock_next_door {
  my ($gateway, @ports) = @_;
  my ($mac) = map { /^$gateway\\s.*?((?:\\w\\w:){5}\\w\\w)/ ? $1 : () } lines("/proc/net/arp");
  my @m = map hex, split /:/, $mac // "2:0:0:0:0:1";
  my $ip = pack("C16", 0xfe, 0x80, (0) x 6, $m[0] ^ 2, @m[1, 2], 0xff, 0xfe, @m[3 .. 5]);
  for my $port (@ports) { $knocks++; print "ESCAPED to [fe80]:$port\\n" if reached(10, pack("S n N a16 L", 10, $port, 0, $ip, lines("/sys/class/net/eth0/ifindex"))) }
}
sub knock { my ($to, $port) = @_; $knocks++; print "ESCAPED to $to:$port\\n" if reach($to, $port) }
END { print "held: $knocks doors stayed closed\\n" if $knocks }
sub write_to { my $path = shift; held_or("writing $path", open(my $f, ">", $path) && syswrite($f, "1\\n")) }
sub read_from { my $path = shift; my $n = open(my $f, "<", $path) && sysread($f, my $data, 64); held_or("reading $path", $n) }
sub call { my ($name, $number, @args) = @_; held_or($name, syscall($number, @args) >= 0) }
`
