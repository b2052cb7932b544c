package grpcserver

import (
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
)

func TestFieldPath(t *testing.T) {
	element := func(name string) *validate.FieldPathElement {
		return &validate.FieldPathElement{FieldName: proto.String(name)}
	}
	indexed, keyed := element("steps"), element("header_values")
	indexed.Subscript = &validate.FieldPathElement_Index{Index: 2}
	keyed.Subscript = &validate.FieldPathElement_StringKey{StringKey: "a b"}
	cases := map[string]struct {
		elements []*validate.FieldPathElement
		want     string
	}{
		"none":       {nil, ""},
		"simple":     {[]*validate.FieldPathElement{element("title")}, "title"},
		"nested":     {[]*validate.FieldPathElement{element("date_range"), element("end_time")}, "dateRange.endTime"},
		"index":      {[]*validate.FieldPathElement{indexed, element("retry"), element("max_attempts")}, "steps[2].retry.maxAttempts"},
		"map_key":    {[]*validate.FieldPathElement{keyed}, `headerValues["a b"]`},
		"with_digit": {[]*validate.FieldPathElement{element("last_24h")}, "last24h"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := fieldPath(&validate.FieldPath{Elements: c.elements}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
