package ratelimit

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoregistry"

	"workflow.uniconnect/pkg/fault"

	accessv1 "workflow.uniconnect/proto/gen/go/uniconnect/access/v1"
)

func limits() Limits { return Limits{RequestsPerSecond: 100, Streams: 2} }

// drain takes until refused and returns how many calls passed, and the refusal.
func drain(t *testing.T, l *Limiter, tenant string, class Class) (int, *fault.Error) {
	t.Helper()
	for n := range 10_000 {
		if err := l.Take(tenant, class, limits()); err != nil {
			f, ok := fault.As(err)
			if !ok || f.Kind != fault.KindResourceExhausted || f.Reason != fault.ReasonRateLimit || f.RetryAfter <= 0 {
				t.Fatalf("got %#v, want RESOURCE_EXHAUSTED RATE_LIMIT with a time", err)
			}
			return n, f
		}
	}
	t.Fatal("nothing is refused")
	return 0, nil
}

func TestLimiter_Take(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		n, f := drain(t, l, "acme", Read)
		if n != 200 || f.Metadata["limit"] != "reads_per_second" || f.Metadata["value"] != "100" || f.RetryAfter != 10*time.Millisecond {
			t.Errorf("reads: got %d, %v, %v", n, f.Metadata, f.RetryAfter)
		}
		if err := l.Take("globex", Read, limits()); err != nil {
			t.Errorf("another tenant: %v", err)
		}
		<-time.After(f.RetryAfter)
		if n, _ := drain(t, l, "acme", Read); n != 1 {
			t.Errorf("after the time that was named: %d calls pass, want 1", n)
		}
		<-time.After(time.Second)
		if n, _ := drain(t, l, "acme", Read); n != 100 {
			t.Errorf("after a second: %d calls pass, want 100", n)
		}
	})
}

func TestLimiter_Take_a_class_leaves_the_rest_to_others(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		n, f := drain(t, l, "acme", Write)
		if n != 100 || f.Metadata["limit"] != "writes_per_second" || f.Metadata["value"] != "50" {
			t.Errorf("writes: got %d, %v", n, f.Metadata)
		}
		// A refused call costs nothing, so the rest is there.
		n, f = drain(t, l, "acme", Publish)
		if n != 100 || f.Metadata["limit"] != "requests_per_second" || f.Metadata["value"] != "100" {
			t.Errorf("publishing: got %d, %v", n, f.Metadata)
		}
		if err := l.Take("acme", Unlimited, limits()); err != nil {
			t.Errorf("unlimited: %v", err)
		}
	})
}

func TestLimiter_Take_adopts_another_limit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		drain(t, l, "acme", Read)
		<-time.After(10 * time.Second)
		passed := 0
		for l.Take("acme", Read, Limits{RequestsPerSecond: 1}) == nil {
			passed++
		}
		if passed != 2 {
			t.Errorf("with one a second: %d calls pass, want 2", passed)
		}
		<-time.After(time.Second)
		if err := l.Take("acme", Read, Limits{RequestsPerSecond: 1}); err != nil {
			t.Errorf("a second later: %v", err)
		}
	})
}

func TestLimiter_is_bounded_and_forgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		l.size = 100
		for i := range 10 * l.size {
			if err := l.Take(fmt.Sprint(i), Read, limits()); err != nil {
				t.Fatal(err)
			}
		}
		if len(l.buckets) > l.size {
			t.Errorf("%d tenants are kept, want at most %d", len(l.buckets), l.size)
		}
		drain(t, l, "busy", Read)
		<-time.After(sweepEvery)
		if err := l.Take("acme", Read, limits()); err != nil {
			t.Fatal(err)
		}
		if len(l.buckets) != 1 {
			t.Errorf("%d tenants are kept after a minute, want the one that calls", len(l.buckets))
		}
	})
}

func TestLimiter_Open(t *testing.T) {
	l := New()
	first, err := l.Open("acme", limits())
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.Open("acme", limits())
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Open("acme", limits())
	f, ok := fault.As(err)
	if !ok || f.Kind != fault.KindResourceExhausted || f.Reason != fault.ReasonQuota || f.Metadata["quota"] != "streams" || f.Metadata["value"] != "2" || f.RetryAfter <= 0 {
		t.Errorf("a third: got %v", err)
	}
	other, err := l.Open("globex", limits())
	if err != nil {
		t.Errorf("another tenant: %v", err)
	}
	first()
	if first, err = l.Open("acme", limits()); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	for _, release := range []func(){first, second, other} {
		release()
	}
	if len(l.streams) != 0 {
		t.Errorf("tenants without streams are kept: %v", l.streams)
	}
}

func TestClasses(t *testing.T) {
	files := &protoregistry.Files{}
	for _, file := range []interface{ Path() string }{accessv1.File_uniconnect_access_v1_access_service_proto, accessv1.File_uniconnect_access_v1_tenant_service_proto} {
		found, err := protoregistry.GlobalFiles.FindFileByPath(file.Path())
		if err != nil {
			t.Fatal(err)
		}
		if err := files.RegisterFile(found); err != nil {
			t.Fatal(err)
		}
	}
	got := Classes(files)
	want := map[string]Class{"GetMe": Read, "ListRoles": Read, "CreateRole": Write, "UpdateModule": Write, "DeleteRole": Write}
	for method, class := range want {
		if diff := cmp.Diff(class, got["/uniconnect.access.v1.AccessService/"+method]); diff != "" {
			t.Errorf("%s: %s", method, diff)
		}
	}
	if class, ok := got["/uniconnect.access.v1.TenantService/CreateTenant"]; ok {
		t.Errorf("a method without a route is limited: %v", class)
	}
}

// The default admits who calls as often as it says, evenly, for as long as that one likes: four reads to each write.
func TestLimiter_Take_admits_what_it_promises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond = 200
		l := New()
		for n := range 60 * perSecond {
			class := Read
			if n%5 == 4 {
				class = Write
			}
			if err := l.Take("acme", class, Limits{RequestsPerSecond: perSecond}); err != nil {
				t.Fatalf("call %d: %v", n, err)
			}
			<-time.After(time.Second / perSecond)
		}
	})
}
