package fault

// Reason tells programs why a call failed. Its values are those of the proto enum uniconnect.workflow.v1.ErrorReason.Value.
type Reason string

// The reasons that the platform itself gives; services declare their own beside the rule that gives them.
const (
	ReasonTokenMissing       Reason = "TOKEN_MISSING"
	ReasonTokenInvalid       Reason = "TOKEN_INVALID"
	ReasonModuleDisabled     Reason = "MODULE_DISABLED"
	ReasonPermissionMissing  Reason = "PERMISSION_MISSING"
	ReasonInternalMethod     Reason = "INTERNAL_METHOD"
	ReasonTenantState        Reason = "TENANT_STATE"
	ReasonPlatformMethod     Reason = "PLATFORM_METHOD"
	ReasonInvalidFields      Reason = "INVALID_FIELDS"
	ReasonFieldRule          Reason = "FIELD_RULE"
	ReasonServiceUnavailable Reason = "SERVICE_UNAVAILABLE"
	ReasonShuttingDown       Reason = "SHUTTING_DOWN"
	ReasonUnknownMethod      Reason = "UNKNOWN_METHOD"
	ReasonTooLarge           Reason = "TOO_LARGE"
	ReasonLimitReached       Reason = "LIMIT_REACHED"
	ReasonRateLimit          Reason = "RATE_LIMIT"
	ReasonQuota              Reason = "QUOTA"
	ReasonDeadline           Reason = "DEADLINE"
	ReasonCancelled          Reason = "CANCELLED"
	ReasonInternal           Reason = "INTERNAL"
)

func newError(kind Kind, reason Reason, message string) *Error {
	return &Error{Kind: kind, Reason: reason, Message: message}
}

// InvalidArgument returns a fault about the request as a whole; Invalid names fields.
func InvalidArgument(reason Reason, message string) *Error {
	return newError(KindInvalidArgument, reason, message)
}

// Unauthenticated returns a fault for a caller who did not prove who it is.
func Unauthenticated(reason Reason, message string) *Error {
	return newError(KindUnauthenticated, reason, message)
}

// PermissionDenied returns a fault for a caller who may not do this.
func PermissionDenied(reason Reason, message string) *Error {
	return newError(KindPermissionDenied, reason, message)
}

// NotFound returns a fault for something that does not exist for this caller.
func NotFound(reason Reason, message string) *Error { return newError(KindNotFound, reason, message) }

// AlreadyExists returns a fault for something that may exist once and does.
func AlreadyExists(reason Reason, message string) *Error {
	return newError(KindAlreadyExists, reason, message)
}

// FailedPrecondition returns a fault for a call that the present state does not allow.
func FailedPrecondition(reason Reason, message string) *Error {
	return newError(KindFailedPrecondition, reason, message)
}

// Aborted returns a fault for a change that lost against another one.
func Aborted(reason Reason, message string) *Error { return newError(KindAborted, reason, message) }

// OutOfRange returns a fault for a position that was good once, or never.
func OutOfRange(reason Reason, message string) *Error {
	return newError(KindOutOfRange, reason, message)
}

// ResourceExhausted returns a fault for a limit that was reached.
func ResourceExhausted(reason Reason, message string) *Error {
	return newError(KindResourceExhausted, reason, message)
}

// Unimplemented returns a fault for something this release does not do.
func Unimplemented(reason Reason, message string) *Error {
	return newError(KindUnimplemented, reason, message)
}

// Unavailable returns a fault that a retry may cure.
func Unavailable(reason Reason, message string) *Error {
	return newError(KindUnavailable, reason, message)
}

// DeadlineExceeded returns a fault for a call that took too long.
func DeadlineExceeded(reason Reason, message string) *Error {
	return newError(KindDeadlineExceeded, reason, message)
}

// Canceled returns a fault for a call that its caller gave up.
func Canceled(reason Reason, message string) *Error { return newError(KindCanceled, reason, message) }

// Internal returns a fault that is ours to mend. Put what happened into the cause: clients see the message only.
func Internal(reason Reason, message string) *Error { return newError(KindInternal, reason, message) }
