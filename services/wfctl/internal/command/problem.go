package command

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/wfctl/internal/show"
)

func isInterrupted(err error) bool {
	return errors.Is(err, context.Canceled) || fault.KindOf(err) == fault.KindCanceled
}

func isUsage(err error) bool {
	var u *UsageError
	return errors.As(err, &u)
}

// Problem writes an error for people: what went wrong, then each field that is wrong on a line of its own. Nothing is said of differences,
// which were shown.
func Problem(err error) string {
	var f *fault.Error
	switch {
	case err == nil || errors.Is(err, ErrDifferent) || errors.Is(err, errTold):
		return ""
	case isInterrupted(err):
		return "wfctl: interrupted\n"
	case errors.As(err, &f):
		return faultText(err, f)
	case isUsage(err):
		return "wfctl: " + err.Error() + "\nwfctl --help tells more.\n"
	}
	return "wfctl: " + show.Text(err.Error()) + "\n"
}

func faultText(err error, f *fault.Error) string {
	var b strings.Builder
	b.WriteString("wfctl: ")
	// What is around the fault says where it happened, for example in which file.
	if around, ok := strings.CutSuffix(err.Error(), f.Error()); ok {
		b.WriteString(show.Text(around))
	}
	if len(f.Violations) == 0 {
		b.WriteString(show.Text(f.Message))
		if f.Reason != "" {
			fmt.Fprintf(&b, " (%s)", f.Reason)
		}
		b.WriteByte('\n')
		switch f.Kind {
		case fault.KindUnavailable:
			b.WriteString("Is the system running? --server or UC_SERVER names its address.\n")
		case fault.KindUnauthenticated:
			b.WriteString("Has it expired, or is it for another system? UC_TOKEN, UC_TOKEN_FILE and --token-file give one; wfctl token makes one in development.\n")
		}
		return b.String()
	}
	word := "problems"
	if len(f.Violations) == 1 {
		word = "problem"
	}
	fmt.Fprintf(&b, "%d %s (%s)\n", len(f.Violations), word, f.Reason)
	for _, v := range f.Violations {
		line := show.Text(v.Description)
		if v.Field != "" {
			line = show.Text(v.Field) + ": " + line
		}
		b.WriteString("  " + line + "\n")
	}
	if f.Reason == "DOCUMENT" && strings.Contains(b.String(), "is made by the server") {
		b.WriteString("get -o yaml shows all that there is; wfctl export writes what can be applied.\n")
	}
	return b.String()
}
