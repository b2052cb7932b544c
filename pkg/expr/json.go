package expr

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/go-json-experiment/json/jsontext"
)

// Decode turns JSON text into the data that expressions see. A number written without fraction and exponent that fits is an int64, any
// other a float64. Of a repeated name the last one counts, as everywhere in Go.
func Decode(raw []byte) (any, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw), jsontext.AllowDuplicateNames(true))
	v, err := decodeValue(d)
	if err != nil {
		return nil, fmt.Errorf("decode JSON: %w", err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode JSON: data after the value")
	}
	return v, nil
}

func decodeValue(d *jsontext.Decoder) (any, error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		return decodeNumber(token.String())
	case '{':
		return decodeObject(d)
	default: // '[', since the decoder lets nothing else begin a value
		return decodeArray(d)
	}
}

func decodeObject(d *jsontext.Decoder) (any, error) {
	object := make(map[string]any)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // the token is valid until the next is read
		if object[key], err = decodeValue(d); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return object, err
}

func decodeArray(d *jsontext.Decoder) (any, error) {
	array := []any{}
	for d.PeekKind() != ']' {
		v, err := decodeValue(d)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	_, err := d.ReadToken()
	return array, err
}

func decodeNumber(text string) (any, error) {
	if !strings.ContainsAny(text, ".eE") {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i, nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("number %s: %w", text, err)
	}
	return f, nil
}

// FromFloats turns data whose numbers are all float64, as google.protobuf.Struct yields it, into the form of Decode: a float64 without a
// fraction that fits becomes an int64. It changes v in place and returns it.
func FromFloats(v any) any {
	switch x := v.(type) {
	case float64:
		// 2^53 bounds the integers that a float64 holds exactly.
		if x == math.Trunc(x) && math.Abs(x) <= 1<<53 {
			return int64(x)
		}
	case map[string]any:
		for k := range x {
			x[k] = FromFloats(x[k])
		}
	case []any:
		for i := range x {
			x[i] = FromFloats(x[i])
		}
	}
	return v
}

// Size is about how many bytes data takes up as JSON, or more than limit as soon as that is sure: a value can hold the same part many times
// and be far larger written than in memory.
func Size(v any, limit int) int {
	switch x := v.(type) {
	case string:
		return len(x) + 2
	case map[string]any:
		n := 2
		for k, value := range x {
			if n += len(k) + 4 + Size(value, limit-n); n > limit {
				break
			}
		}
		return n
	case []any:
		n := 2
		for _, value := range x {
			if n += 1 + Size(value, limit-n); n > limit {
				break
			}
		}
		return n
	default:
		return 8
	}
}

// toJSON turns a value of CEL into JSON data.
func toJSON(value ref.Val) (any, error) {
	switch v := value.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		if v > math.MaxInt64 {
			return float64(v), nil
		}
		return int64(v), nil
	case types.Double:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("the number %v has no JSON form", f)
		}
		return float64(v), nil
	case types.String:
		return string(v), nil
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return durationJSON(v.Duration), nil
	case traits.Mapper:
		return mapToJSON(v)
	case traits.Lister:
		return listToJSON(v)
	case *types.Err:
		return nil, fmt.Errorf("evaluate: %w", v)
	default:
		return nil, fmt.Errorf("a value of type %s has no JSON form", value.Type().TypeName())
	}
}

func mapToJSON(m traits.Mapper) (any, error) {
	if native, ok := m.Value().(map[string]any); ok {
		return plain(native), nil
	}
	out := make(map[string]any)
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, fmt.Errorf("a map with a key of type %s has no JSON form", key.Type().TypeName())
		}
		value, err := toJSON(m.Get(key))
		if err != nil {
			return nil, err
		}
		out[string(name)] = value
	}
	return out, nil
}

func listToJSON(l traits.Lister) (any, error) {
	if native, ok := l.Value().([]any); ok {
		return plain(native), nil
	}
	out := []any{}
	for it := l.Iterator(); it.HasNext() == types.True; {
		value, err := toJSON(it.Next())
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

// plain returns data of a Scope with its times as text. Data without times, which is nearly all, is returned as it is.
func plain(v any) any {
	switch x := v.(type) {
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano)
	case map[string]any:
		if !hasTime(x) {
			return x
		}
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = plain(e)
		}
		return out
	case []any:
		if !hasTime(x) {
			return x
		}
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = plain(e)
		}
		return out
	default:
		return v
	}
}

func hasTime(v any) bool {
	switch x := v.(type) {
	case time.Time:
		return true
	case map[string]any:
		for _, e := range x {
			if hasTime(e) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(x, hasTime)
	}
	return false
}

// durationJSON writes a duration as protobuf's JSON does: decimal seconds and an `s`.
func durationJSON(d time.Duration) string {
	s := fmt.Sprintf("%d.%09d", d/time.Second, (d % time.Second).Abs())
	if d < 0 && d > -time.Second {
		s = "-" + s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + "s"
}
