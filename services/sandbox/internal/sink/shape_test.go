package sink_test

import (
	"net/url"
	"testing"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/sandbox/internal/sink"
)

func TestParseShape(t *testing.T) {
	cases := map[string]struct {
		query string
		want  sink.Shape
		field string
	}{
		"nothing":     {"", sink.Shape{Status: 200}, ""},
		"all":         {"status=503&times=2&delay=2s", sink.Shape{Status: 503, Times: 2, Delay: 2 * time.Second}, ""},
		"status_text": {"status=bad", sink.Shape{}, "status"},
		"status_100":  {"status=100", sink.Shape{}, "status"},
		"times_zero":  {"times=0", sink.Shape{}, "times"},
		"delay_long":  {"delay=1h", sink.Shape{}, "delay"},
		"delay_minus": {"delay=-1s", sink.Shape{}, "delay"},
		"delay_plain": {"delay=2", sink.Shape{}, "delay"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			query, err := url.ParseQuery(c.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := sink.ParseShape(query)
			if c.field == "" {
				if err != nil || got != c.want {
					t.Errorf("got %+v, %v; want %+v", got, err, c.want)
				}
				return
			}
			f, ok := fault.As(err)
			if !ok || len(f.Violations) != 1 || f.Violations[0].Field != c.field {
				t.Errorf("got %v, want a violation of %s", err, c.field)
			}
		})
	}
}
