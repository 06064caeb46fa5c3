//! Where readers of tar disagree, and why libovl reads as it does. `docs/tar.md` says the same.

/// A disagreement.
pub struct Row {
    pub case: &'static str,
    /// Who reads otherwise.
    pub tools: &'static [&'static str],
    /// `refuses` or `accepts` (what libovl does not), `names`, or the field that differs.
    pub what: &'static str,
    pub why: &'static str,
}

const fn row(
    case: &'static str,
    tools: &'static [&'static str],
    what: &'static str,
    why: &'static str,
) -> Row {
    Row {
        case,
        tools,
        what,
        why,
    }
}

const SLASH: &str = "A file of type `0` is a file, whatever its name ends in: POSIX has type 5 for \
    directories. Only v7, which has no type for them, says a directory that way.";

const CONT: &str = "Type 7 is a regular file: no disk that matters keeps files contiguous.";

const TYPES: &str = "What libovl does not know it refuses by name: an entry that is left out or taken for \
    a file is another layer than the one that was meant.";

const LINKDATA: &str = "Whether data follows a hard link that has a size is read in two ways. The one lets \
    what the other calls data be headers. No reading is safe, so neither is taken.";

const NODATA: &str = "Symbolic links, devices and directories of type 5 have no data, whatever the size \
    field or a PAX size says.";

const EMPTYLINK: &str = "Linux has no symbolic link without a target.";

const NONAME: &str = "A file without a name is the root, which is for the caller to judge: apply refuses a \
    root that is no directory.";

const DEVICE: &str =
    "Linux has 12 bits for a major number; a larger one would come out as another device.";

const NUMBER: &str = "A number field holds octal digits or base-256. What else is there is damage, and \
    guessing its size loses the place of every later header.";

const OWNER: &str = "An owner that Linux cannot hold (below 0, 2^32 and more) would wrap to another user, \
    or to root. 4294967295 means `leave alone` to chown.";

const CHECKSUM: &str = "A block that is no header is not the end of the archive: what follows it would be \
    dropped without a word.";

const ZERO: &str = "One zero block between entries is no end, and no entry. Readers go on or stop; \
    libovl refuses.";

const EMPTY: &str = "An archive of no bytes holds nothing and ends where an entry may end. Layers without \
    entries are shipped so.";

const CUT: &str = "An archive that ends inside a header, or after an extended header without its entry, \
    is cut short.";

const CHAIN: &str = "One extended header of a kind for an entry. Where there are two, or two headers name \
    the entry differently, readers choose differently.";

const PREFIX: &str = "The old GNU magic has times where ustar has the prefix: they are no name.";

const DUMPS: &str = "Directories of incremental dumps, volume labels and continued files belong to \
    backups. A layer that has one is no layer.";

const MAPEND: &str = "The real size counts, not where the map ends: what is after its last region is a \
    hole. (A map of libovl's own ends with an empty region at the size.)";

const MAP: &str = "A sparse map goes forwards, stays inside the file and accounts for all bytes that \
    are stored; else two readers fill the file differently.";

const SPARSE2: &str = "A sparse file of a version that is not known is not a file of the bytes that are \
    stored.";

const TIMELIST: &str = "-1.5 is a decimal number: half a second before -1. GNU tar reads it so and only \
    lists it otherwise; libarchive takes the fraction upwards, in what it writes, too.";

const TIME: &str =
    "A PAX time is decimal digits with a fraction. What is none is damage, not 1970.";

const TIMEBIG: &str = "A time beyond 64 bits is the last there is: no disk holds either, and the file is \
    sound.";

const PAXSIZE: &str = "A PAX size wins, but where the header has another plain size, one of them is a lie \
    that hides entries from some readers.";

const GLOBAL: &str = "Owner and time of a global header hold for what follows, as POSIX says; an empty \
    record takes them back.";

const GLOBALNAME: &str = "A path or attribute in a global header would give one name or one right to every \
    entry. It is passed over.";

const EMPTYPATH: &str = "An empty record takes a key back, so the header's name holds.";

const UTF8: &str = "Names are bytes. No character set is asked for.";

const NUL: &str = "A name that holds NUL would be cut to another name.";

const RECORD: &str = "A PAX record is exactly as long as it says: LENGTH SPACE KEY=VALUE NEWLINE. What is \
    not hides or forges records.";

const DEVPAX: &str = "SCHILY.devmajor and SCHILY.devminor say what the header's fields cannot.";

const LIBARCHIVE: &str = "LIBARCHIVE.xattr records say names with `=` and are read where SCHILY.xattr has not \
    said the same name.";

const ACLATTR: &str = "An ACL's attribute is an attribute. GNU tar lists it as an ACL.";

const GARBAGE: &str = "What follows the compressed data and is not zeros is damage.";

const CRC: &str = "All of a blob is read and its checksums are compared, also what lies behind the \
    archive's end.";

const ZSTD: &str = "This Python has no zstd.";

const PERCENT: &str = "A name in SCHILY.xattr stands as it is. GNU tar percent-encodes `%` and `=` in it; \
    to decode would change the names that all others write.";

const LABEL: &str = "GNU.volume.label in a global header is no entry.";

const PERCENTBOTH: &str = "As bsdtar wrote them: `user.a=b` in a LIBARCHIVE record, and in a SCHILY record with \
    `=` percent-encoded. Both are told, as no reader can know that they are one.";

const PADDING: &str = "bsdtar fills its output with zeros, after the compressed data, too. Zeros may follow \
    a blob.";

pub const ROWS: &[Row] = &[
    row(
        "by hand: v7 directory of type 0",
        &["python"],
        "content",
        SLASH,
    ),
    row(
        "by hand: v7 directory of type 0",
        &["python"],
        "type",
        SLASH,
    ),
    row(
        "by hand: ustar file with a slash at its end",
        &["gnu", "bsd"],
        "type",
        SLASH,
    ),
    row(
        "by hand: ustar prefix, empty name",
        &["gnu", "bsd"],
        "type",
        SLASH,
    ),
    row("by hand: contiguous file", &["gnu"], "size", CONT),
    row("by hand: contiguous file", &["gnu"], "type", CONT),
    row(
        "by hand: unknown type",
        &["gnu", "bsd", "python"],
        "accepts",
        TYPES,
    ),
    row(
        "by hand: unknown type with data",
        &["gnu", "python"],
        "accepts",
        TYPES,
    ),
    row(
        "by hand: hard link with a size",
        &["bsd", "python"],
        "accepts",
        LINKDATA,
    ),
    row(
        "by hand: hard link with a size and no data",
        &["gnu", "bsd", "python"],
        "accepts",
        LINKDATA,
    ),
    row("by hand: symlink with a size", &["gnu"], "names", NODATA),
    row("by hand: symlink with a size", &["bsd"], "content", NODATA),
    row(
        "by hand: directory with a size",
        &["bsd"],
        "content",
        NODATA,
    ),
    row(
        "by hand: pax size of a directory",
        &["bsd"],
        "names",
        NODATA,
    ),
    row(
        "by hand: symlink without a target",
        &["gnu", "bsd", "python"],
        "accepts",
        EMPTYLINK,
    ),
    row("by hand: file without a name", &["bsd"], "refuses", NONAME),
    row(
        "by hand: device too large",
        &["gnu", "bsd", "python"],
        "accepts",
        DEVICE,
    ),
    row("by hand: negative size", &["python"], "accepts", NUMBER),
    row(
        "by hand: negative octal time",
        &["gnu", "python"],
        "accepts",
        NUMBER,
    ),
    row("by hand: owner 2^32", &["bsd", "python"], "accepts", OWNER),
    row("by hand: owner -2", &["bsd", "python"], "accepts", OWNER),
    row(
        "by hand: owner 4294967295",
        &["gnu", "bsd", "python"],
        "accepts",
        OWNER,
    ),
    row(
        "by hand: pax owner -1",
        &["bsd", "python"],
        "accepts",
        OWNER,
    ),
    row(
        "by hand: pax owner 2^32",
        &["bsd", "python"],
        "accepts",
        OWNER,
    ),
    row(
        "by hand: wrong checksum",
        &["bsd", "python"],
        "accepts",
        CHECKSUM,
    ),
    row(
        "by hand: lone zero block",
        &["gnu", "bsd", "python"],
        "accepts",
        ZERO,
    ),
    row("by hand: nothing", &["gnu", "python"], "refuses", EMPTY),
    row(
        "by hand: truncated header",
        &["gnu", "python"],
        "accepts",
        CUT,
    ),
    row("by hand: long name at the end", &["gnu"], "accepts", CUT),
    row("by hand: pax at the end", &["gnu"], "accepts", CUT),
    row(
        "by hand: two long names",
        &["gnu", "bsd", "python"],
        "accepts",
        CHAIN,
    ),
    row(
        "by hand: pax and long name that differ",
        &["gnu", "bsd", "python"],
        "accepts",
        CHAIN,
    ),
    row(
        "by hand: two pax headers",
        &["gnu", "python"],
        "accepts",
        CHAIN,
    ),
    row(
        "by hand: pax, then global",
        &["gnu", "bsd", "python"],
        "accepts",
        CHAIN,
    ),
    row(
        "by hand: gnu times in the prefix",
        &["python"],
        "names",
        PREFIX,
    ),
    row(
        "by hand: incremental directory",
        &["gnu", "bsd", "python"],
        "accepts",
        DUMPS,
    ),
    row(
        "by hand: volume label",
        &["gnu", "bsd", "python"],
        "accepts",
        DUMPS,
    ),
    row(
        "by hand: continued file",
        &["gnu", "bsd", "python"],
        "accepts",
        DUMPS,
    ),
    row(
        "gnu: incremental (refused)",
        &["gnu", "bsd", "python"],
        "accepts",
        DUMPS,
    ),
    row(
        "gnu: volume label (refused)",
        &["gnu", "bsd", "python"],
        "accepts",
        DUMPS,
    ),
    row("by hand: sparse, old", &["gnu"], "content", MAPEND),
    row(
        "by hand: sparse, old, all hole",
        &["gnu"],
        "content",
        MAPEND,
    ),
    row("by hand: sparse, 0.0", &["gnu"], "content", MAPEND),
    row("by hand: sparse, 0.1", &["gnu"], "content", MAPEND),
    row("by hand: sparse, 1.0", &["gnu"], "content", MAPEND),
    row(
        "by hand: sparse, old, too little stored",
        &["gnu", "bsd", "python"],
        "accepts",
        MAP,
    ),
    row(
        "by hand: sparse, old, beyond the size",
        &["bsd", "python"],
        "accepts",
        MAP,
    ),
    row(
        "by hand: sparse, 0.1, wrong count",
        &["gnu", "bsd", "python"],
        "accepts",
        MAP,
    ),
    row(
        "by hand: sparse, 1.0, overlap",
        &["gnu", "bsd", "python"],
        "accepts",
        MAP,
    ),
    row(
        "by hand: sparse, 1.0, backwards",
        &["gnu", "bsd", "python"],
        "accepts",
        MAP,
    ),
    row("by hand: sparse, 2.0", &["python"], "accepts", SPARSE2),
    row("by hand: pax times", &["gnu", "bsd"], "mtime", TIMELIST),
    row(
        "by hand: pax time that is none",
        &["gnu", "bsd", "python"],
        "accepts",
        TIME,
    ),
    row(
        "by hand: pax time beyond 64 bits",
        &["gnu", "bsd"],
        "refuses",
        TIMEBIG,
    ),
    row(
        "by hand: pax time beyond 64 bits",
        &["python"],
        "mtime",
        TIMEBIG,
    ),
    row(
        "by hand: pax size against the header's",
        &["gnu", "bsd", "python"],
        "accepts",
        PAXSIZE,
    ),
    row(
        "by hand: pax size 0 against the header's",
        &["bsd", "python"],
        "accepts",
        PAXSIZE,
    ),
    row("by hand: pax global", &["bsd"], "mtime", GLOBAL),
    row("by hand: pax global", &["bsd"], "uid", GLOBAL),
    row(
        "by hand: pax global taken back",
        &["gnu"],
        "refuses",
        GLOBAL,
    ),
    row("python: PAX_FORMAT", &["bsd"], "uid", GLOBAL),
    row(
        "by hand: pax global path",
        &["gnu", "python"],
        "names",
        GLOBALNAME,
    ),
    row(
        "by hand: pax global attribute",
        &["python"],
        "xattrs",
        GLOBALNAME,
    ),
    row(
        "by hand: pax empty path",
        &["gnu", "python"],
        "names",
        EMPTYPATH,
    ),
    row("by hand: pax not UTF-8", &["bsd"], "refuses", UTF8),
    row(
        "by hand: pax NUL in a name",
        &["gnu", "bsd", "python"],
        "accepts",
        NUL,
    ),
    row(
        "by hand: pax record too long",
        &["python"],
        "accepts",
        RECORD,
    ),
    row(
        "by hand: pax record too short",
        &["python"],
        "accepts",
        RECORD,
    ),
    row(
        "by hand: pax record without =",
        &["python"],
        "accepts",
        RECORD,
    ),
    row(
        "by hand: pax record with zeros behind",
        &["gnu", "python"],
        "accepts",
        RECORD,
    ),
    row("by hand: pax devices", &["gnu", "python"], "device", DEVPAX),
    row(
        "by hand: attributes, LIBARCHIVE",
        &["gnu"],
        "lengths",
        LIBARCHIVE,
    ),
    row(
        "by hand: attributes, LIBARCHIVE",
        &["python"],
        "xattrs",
        LIBARCHIVE,
    ),
    row("by hand: acl as attribute", &["gnu"], "lengths", ACLATTR),
    row(
        "by hand: gzip, garbage behind",
        &["bsd", "python"],
        "accepts",
        GARBAGE,
    ),
    row("by hand: gzip, truncated", &["python"], "accepts", CRC),
    row(
        "by hand: gzip, wrong checksum",
        &["bsd", "python"],
        "accepts",
        CRC,
    ),
    row(
        "by hand: gzip, wrong checksum after the end",
        &["gnu", "bsd", "python"],
        "accepts",
        CRC,
    ),
    row("by hand: zstd", &["python"], "refuses", ZSTD),
    row("by hand: zstd, two frames", &["python"], "refuses", ZSTD),
    row("gnu: gnu, zstd", &["python"], "refuses", ZSTD),
    row("gnu: posix", &["gnu"], "lengths", PERCENT),
    row("gnu: posix with acls", &["gnu"], "lengths", PERCENT),
    row("gnu: posix, volume label", &["gnu"], "names", LABEL),
    row("bsd: pax", &["gnu"], "lengths", PERCENTBOTH),
    row("bsd: pax", &["python"], "xattrs", PERCENTBOTH),
    row("bsd: restricted pax", &["gnu"], "lengths", PERCENTBOTH),
    row("bsd: restricted pax", &["python"], "xattrs", PERCENTBOTH),
    row(
        "bsd: pax, zstd",
        &["gnu", "bsd", "python"],
        "refuses",
        PADDING,
    ),
];
