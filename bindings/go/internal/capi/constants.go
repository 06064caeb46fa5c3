package capi

// #include <ovl.h>
import "C"

// The header's constants.
const (
	ESystem       = C.OVL_E_SYSTEM
	EInvalid      = C.OVL_E_INVALID
	ENoLayer      = C.OVL_E_NO_LAYER
	ELayerExists  = C.OVL_E_LAYER_EXISTS
	EHasChildren  = C.OVL_E_HAS_CHILDREN
	EMounted      = C.OVL_E_MOUNTED
	ELocked       = C.OVL_E_LOCKED
	ECommitted    = C.OVL_E_COMMITTED
	ENotCommitted = C.OVL_E_NOT_COMMITTED
	EArchive      = C.OVL_E_ARCHIVE
	ETruncated    = C.OVL_E_TRUNCATED
	EDigest       = C.OVL_E_DIGEST
	ELimit        = C.OVL_E_LIMIT
	EEscape       = C.OVL_E_ESCAPE
	EUnsupported  = C.OVL_E_UNSUPPORTED
	ECancelled    = C.OVL_E_CANCELLED
	EBug          = C.OVL_E_BUG
	EForked       = C.OVL_E_FORKED
	EFormat       = C.OVL_E_FORMAT
	EDamaged      = C.OVL_E_DAMAGED
	EMarks        = C.OVL_E_MARKS
	EStrict       = C.OVL_E_STRICT
	ENotEmpty     = C.OVL_E_NOT_EMPTY
	ECallback     = C.OVL_E_CALLBACK
	EUnclean      = C.OVL_E_UNCLEAN
	ENoImage      = C.OVL_E_NO_IMAGE
	EChanged      = C.OVL_E_CHANGED

	MarksAuto    = C.OVL_MARKS_AUTO
	MarksTrusted = C.OVL_MARKS_TRUSTED
	MarksUser    = C.OVL_MARKS_USER

	LogError   = C.OVL_LOG_ERROR
	LogWarning = C.OVL_LOG_WARNING
	LogInfo    = C.OVL_LOG_INFO
	LogDebug   = C.OVL_LOG_DEBUG

	KindDefault = C.OVL_KIND_DEFAULT
	KindRoot    = C.OVL_KIND_ROOT
	KindOverlay = C.OVL_KIND_OVERLAY

	StateWritable  = C.OVL_STATE_WRITABLE
	StateCommitted = C.OVL_STATE_COMMITTED

	DurabilityDefault  = C.OVL_DURABILITY_DEFAULT
	DurabilityNone     = C.OVL_DURABILITY_NONE
	DurabilityFull     = C.OVL_DURABILITY_FULL
	DurabilityVerified = C.OVL_DURABILITY_VERIFIED

	SpecType   = C.OVL_SPEC_TYPE
	SpecSource = C.OVL_SPEC_SOURCE
	SpecOption = C.OVL_SPEC_OPTION
	SpecJSON   = C.OVL_SPEC_JSON

	ChangeAdd    = C.OVL_CHANGE_ADD
	ChangeModify = C.OVL_CHANGE_MODIFY
	ChangeDelete = C.OVL_CHANGE_DELETE

	CheckDamage   = C.OVL_CHECK_DAMAGE
	CheckRepaired = C.OVL_CHECK_REPAIRED
	CheckNote     = C.OVL_CHECK_NOTE

	ReflinkAuto   = C.OVL_REFLINK_AUTO
	ReflinkAlways = C.OVL_REFLINK_ALWAYS
	ReflinkNever  = C.OVL_REFLINK_NEVER

	ConfigJSON       = C.OVL_CONFIG_JSON
	ConfigEnv        = C.OVL_CONFIG_ENV
	ConfigEntrypoint = C.OVL_CONFIG_ENTRYPOINT
	ConfigCmd        = C.OVL_CONFIG_CMD
	ConfigWorkingDir = C.OVL_CONFIG_WORKING_DIR
	ConfigUser       = C.OVL_CONFIG_USER
	ConfigLabel      = C.OVL_CONFIG_LABEL
	ConfigLayer      = C.OVL_CONFIG_LAYER
)
