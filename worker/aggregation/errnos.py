"""What each errno means where a file lies: the exit code on a disk, the one on a remote mount, and the cure.

Gone through once for all that Linux knows, by what its FUSE, NFS, SMB, Ceph, 9p and Lustre clients and the
network beneath them hand on: their tables of answers (fs/nfs/nfs2xdr.c, nfs3xdr.c and nfs4xdr.c,
fs/smb/client/smb2maperror.c, fs/fuse/dev.c, lustre's obd_support.h), and what was seen on ossfs 1 and 2.
"""

import errno
from typing import NamedTuple

MISSING = 3
DENIED = 5
REFUSED = 6
UNAVAILABLE = 75


class Answer(NamedTuple):
    """A row of the table."""

    disk: int
    """The exit code on a disk of this machine."""
    remote: int
    """The exit code on a mount whose bytes come from elsewhere."""
    cure: str = ""
    remote_cure: str = ""
    waits: bool = False
    """Whether it may pass within seconds, so that the worker itself tries again on a remote mount."""


UNKNOWN = Answer(REFUSED, REFUSED)
"""What no row names. It came from the file system, so it is neither a bug nor wrong usage; and nothing says
that it passes, so it is not tried again."""

_SPACE = "free some space or enlarge the volume, then run again"
_AGAIN = "the mount did not answer: run again"
_MOUNT = "the service behind the mount did not answer: run again; if it stays, look at the mount's log"
_NETWORK = "the network or the server is away: run again"
_GONE = "the mount's process has gone: run again on a node where it is alive"
_DAMAGED = "the file system is damaged: check it (fsck), and look at the node's log"
_KEY = "renew the key or ticket with which it is mounted, then run again"

_PASSES = Answer(UNAVAILABLE, UNAVAILABLE, _AGAIN, waits=True)
_AWAY = Answer(UNAVAILABLE, UNAVAILABLE, _NETWORK, waits=True)
_DEAD = Answer(UNAVAILABLE, UNAVAILABLE, _GONE)
"""Nothing comes back under this mount point as long as this process looks at it: not waited out."""
_BROKEN_DISK = Answer(REFUSED, UNAVAILABLE, "look at the node's disk and its log", _MOUNT, waits=True)
_FAULTY = Answer(REFUSED, UNAVAILABLE, "", _MOUNT)
"""A program's mistake on a disk; on a mount its client's or server's, whose handle or session was lost."""


def _missing(cure: str) -> Answer:
    return Answer(MISSING, MISSING, cure)


def _refused(cure: str) -> Answer:
    return Answer(REFUSED, REFUSED, cure)


def _each(names: str, answer: Answer) -> dict[str, Answer]:
    return dict.fromkeys(names.split(), answer)


_ROWS: dict[str, Answer] = {
    "ENOENT": _missing("write it, or run the step that makes it, then run again"),
    "ENOTDIR": _missing("a file stands where a folder should be: move it away"),
    "ELOOP": _missing("a symbolic link leads back to itself: replace it by the file"),
    "EISDIR": _missing("a directory stands where a file should be: move it away"),
    "ENAMETOOLONG": Answer(2, 2, "use a shorter root or a smaller number"),
    # What a mode, an owner, a capability or the policy of a mount's key forbids.
    **_each("EACCES EPERM", Answer(DENIED, DENIED)),
    # Kerberos tickets (NFS, SMB, AFS) and keys of encrypted folders (fscrypt, eCryptfs).
    **_each("EKEYEXPIRED EKEYREVOKED EKEYREJECTED ENOKEY", Answer(DENIED, DENIED, _KEY)),
    "EROFS": _refused("mount the volume without readOnly, or name another --root"),
    **_each("ENOSPC EDQUOT", _refused(_SPACE)),
    "EFBIG": _refused("the file system does not hold files of this size: use another one"),
    "EMFILE": _refused("raise the limit of open files (ulimit -n)"),
    "EMLINK": _refused("the folder holds as many folders as the file system allows: use another --root"),
    "EILSEQ": _refused("the file system cannot hold this name: use other names, or mount it with UTF-8"),
    "ETXTBSY": _refused("the file is in use as a program or as swap: end what uses it"),
    # EUCLEAN and EBADMSG are what ext4, XFS and btrfs call a broken structure and a wrong checksum.
    **_each("EUCLEAN EBADMSG EHWPOISON EL2HLT", _refused(_DAMAGED)),
    **_each("ENOMEDIUM EMEDIUMTYPE", _refused("put the medium back")),
    # ossfs says EIO when the service is away: 1 after a minute, 2 after half a second. NFS (soft) and SMB say
    # it for a server that stopped answering. On a disk it is the disk.
    "EIO": _BROKEN_DISK,
    # The device behind the file has gone. ossfs 2 answers ENXIO where the service said 503 to a PUT; Lustre
    # ENODEV where a target is away. (A socket answers ENXIO too, which is looked at where files are opened.)
    "ENXIO": _PASSES,
    "ENODEV": _BROKEN_DISK,
    # FUSE's daemon was killed: the call in flight gets ECONNABORTED, all later ones ENOTCONN.
    **_each("ENOTCONN ECONNABORTED ESHUTDOWN", _DEAD),
    "ESTALE": Answer(UNAVAILABLE, UNAVAILABLE, "the server dropped the file handle: run again", waits=True),
    # Busy, short of memory, or interrupted: NFS's JUKEBOX, SMB's sharing violation, a client's full queue.
    **_each(
        "EAGAIN EBUSY EINTR ERESTART EINPROGRESS EALREADY ECANCELED ETIME ETIMEDOUT ENFILE ENOMEM "
        "ENOBUFS ENOSR ENOLCK EDEADLK EUSERS",
        _PASSES,
    ),
    # The network stack, and what clients make of a session that broke off.
    **_each(
        "ECONNRESET ECONNREFUSED EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENETRESET ENONET EPIPE "
        "EREMOTEIO ENOLINK ECOMM EPROTO EADDRINUSE EADDRNOTAVAIL ESTRPIPE EREMCHG",
        _AWAY,
    ),
    # rclone's and SMB's lost handles; Ceph's and NFS's broken exchanges; a referral that led nowhere.
    **_each("EBADF EBADFD EBADE EBADR EREMOTE ENODATA", _FAULTY),
    # An answer to what was asked, which is the same each time: an operation that the file system lacks, an
    # argument that it refuses. ossfs 2 says EINVAL to opening a file too, while the service is away: see
    # `answer`.
    **_each(
        "EINVAL ENOSYS EOPNOTSUPP EXDEV EEXIST ENOTEMPTY ENOTTY ESPIPE ENOTBLK EOVERFLOW ERANGE EDOM "
        "EFAULT E2BIG ENOEXEC ECHILD ESRCH ENOPKG ENOTUNIQ EOWNERDEAD ENOTRECOVERABLE ERFKILL",
        UNKNOWN,
    ),
    # Of sockets, streams, SysV's channels and shared libraries: no file system gives them. As unknown ones.
    **_each(
        "ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT "
        "EPFNOSUPPORT EAFNOSUPPORT EISCONN ETOOMANYREFS ENOSTR EADV ESRMNT EMULTIHOP EDOTDOT ENOMSG "
        "EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EXFULL ENOANO EBADRQC EBADSLT "
        "EBFONT ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC ENOTNAM ENAVAIL EISNAM",
        UNKNOWN,
    ),
}

_ANSWERS = {number: row for name, row in _ROWS.items() if (number := getattr(errno, name, None)) is not None}

_EINVAL_AT_OPEN = Answer(REFUSED, UNAVAILABLE, "", _MOUNT, waits=True)


def answer(number: int | None, *, opening: bool = False) -> Answer:
    """The row of an errno; `opening` says that a name was looked up or opened, not bytes moved or names."""
    if number == errno.EINVAL and opening:
        return _EINVAL_AT_OPEN
    return _ANSWERS.get(number or 0, UNKNOWN)
