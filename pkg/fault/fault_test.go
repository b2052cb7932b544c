package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/fault"
)

func TestError_With_leaves_the_original_alone(t *testing.T) {
	gone := fault.NotFound("THING_NOT_FOUND", "no such thing")
	first := gone.With("id", "1")
	second := first.With("id", "2").WithRetryAfter(time.Second).WithCause(errors.New("boom"))

	if gone.Metadata != nil {
		t.Errorf("original metadata: got %v, want nil", gone.Metadata)
	}
	if got, want := first.Metadata["id"], "1"; got != want {
		t.Errorf("first id: got %q, want %q", got, want)
	}
	if got, want := second.Metadata["id"], "2"; got != want {
		t.Errorf("second id: got %q, want %q", got, want)
	}
	if !errors.Is(fmt.Errorf("read: %w", second), gone) {
		t.Error("errors.Is does not find the package-level fault in a copy")
	}
	if errors.Is(second, fault.NotFound("OTHER", "")) {
		t.Error("errors.Is matches another reason")
	}
	if got, want := second.Error(), "no such thing: boom"; got != want {
		t.Errorf("text: got %q, want %q", got, want)
	}
}

func TestKindOf(t *testing.T) {
	cases := map[string]struct {
		err  error
		want fault.Kind
	}{
		"nil":            {nil, fault.KindNone},
		"plain":          {errors.New("x"), fault.KindInternal},
		"wrapped_fault":  {fmt.Errorf("a: %w", fault.Aborted("ETAG_MISMATCH", "stale")), fault.KindAborted},
		"canceled":       {fmt.Errorf("a: %w", context.Canceled), fault.KindCanceled},
		"deadline":       {fmt.Errorf("a: %w", context.DeadlineExceeded), fault.KindDeadlineExceeded},
		"fault_over_ctx": {fault.Unavailable("X", "x").WithCause(context.Canceled), fault.KindUnavailable},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := fault.KindOf(c.err); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestInvalid_names_every_field(t *testing.T) {
	got := fault.Invalid(
		fault.Violation{Field: "title", Description: "is required"},
		fault.Violation{Description: "two triggers", Reason: "DUPLICATE_ID"},
	)
	want := []fault.Violation{
		{Field: "title", Description: "is required", Reason: fault.ReasonFieldRule},
		{Description: "two triggers", Reason: "DUPLICATE_ID"},
	}
	if diff := cmp.Diff(want, got.Violations); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
	if got, want := got.Message, "title: is required; two triggers"; got != want {
		t.Errorf("message: got %q, want %q", got, want)
	}

	many := make([]fault.Violation, 13)
	for i := range many {
		many[i] = fault.Violation{Field: "f", Description: "d"}
	}
	f := fault.Invalid(many...)
	if got, want := len(f.Violations), 13; got != want {
		t.Errorf("violations: got %d, want %d", got, want)
	}
	if got, want := f.Message[len(f.Message)-len("; and 3 more"):], "; and 3 more"; got != want {
		t.Errorf("end of message: got %q, want %q", got, want)
	}
}

func TestCheck_without_violations_is_nil(t *testing.T) {
	if err := fault.Check(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if got, want := fault.KindOf(fault.Check(fault.Violation{Field: "a"})), fault.KindInvalidArgument; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
