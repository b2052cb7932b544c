package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// Drift is a setting that differed from the wanted configuration and was put
// right. The caller reports it: either a release changed the setting, or
// somebody changed it by hand.
type Drift struct {
	// Field is the name of the field in the configuration's type.
	Field string
	// Had and Has are its values before and after.
	Had, Has string
}

func (d Drift) String() string { return fmt.Sprintf("%s: %s → %s", d.Field, d.Had, d.Has) }

// EnsureStream makes a stream or brings an existing one to cfg, and reports
// what it had to change. It is meant to run at each start, also of several
// replicas at once. What the server cannot change in place (the storage, say)
// is an error; nothing is ever deleted.
func EnsureStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, []Drift, error) {
	before, err := js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err := js.CreateStream(ctx, cfg)
		if err == nil {
			return stream, nil, nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil, nil, fmt.Errorf("create stream %s: %w", cfg.Name, err)
		}
		// Another replica was faster, with another release's configuration.
		before, err = js.Stream(ctx, cfg.Name)
		if err != nil {
			return nil, nil, fmt.Errorf("look up stream %s: %w", cfg.Name, err)
		}
	} else if err != nil {
		return nil, nil, fmt.Errorf("look up stream %s: %w", cfg.Name, err)
	}
	after, err := js.UpdateStream(ctx, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("bring stream %s to its configuration: %w", cfg.Name, err)
	}
	// Both sides come from the server, defaults filled in.
	return after, diff(before.CachedInfo().Config, after.CachedInfo().Config), nil
}

// EnsureConsumer does the same for a durable pull consumer. MaxDeliver is
// always -1: a message that ran out of deliveries would stay in the stream
// unseen, so giving up on one is the application's decision, and lowering the
// limit would make messages vanish without a sign.
func EnsureConsumer(ctx context.Context, js jetstream.JetStream, stream string, cfg jetstream.ConsumerConfig) (jetstream.Consumer, []Drift, error) {
	switch {
	case cfg.Durable == "":
		return nil, nil, fmt.Errorf("consumer of stream %s: a durable name is required", stream)
	case cfg.MaxDeliver != 0 && cfg.MaxDeliver != -1:
		return nil, nil, fmt.Errorf("consumer %s of stream %s: MaxDeliver is %d, it must stay unlimited", cfg.Durable, stream, cfg.MaxDeliver)
	}
	cfg.MaxDeliver = -1
	before, err := js.Consumer(ctx, stream, cfg.Durable)
	existed := err == nil
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, nil, fmt.Errorf("look up consumer %s of stream %s: %w", cfg.Durable, stream, err)
	}
	after, err := js.CreateOrUpdateConsumer(ctx, stream, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("bring consumer %s of stream %s to its configuration: %w", cfg.Durable, stream, err)
	}
	if !existed {
		return after, nil, nil
	}
	return after, diff(before.CachedInfo().Config, after.CachedInfo().Config), nil
}

// diff compares two configurations of one type field by field.
func diff(before, after any) []Drift {
	a, b := reflect.ValueOf(before), reflect.ValueOf(after)
	var drift []Drift
	for i := range a.NumField() {
		had, has := a.Field(i).Interface(), b.Field(i).Interface()
		if field := a.Type().Field(i).Name; field == "Metadata" {
			had, has = ownMetadata(had), ownMetadata(has)
		}
		if !reflect.DeepEqual(had, has) {
			drift = append(drift, Drift{Field: a.Type().Field(i).Name, Had: show(had), Has: show(has)})
		}
	}
	return drift
}

// ownMetadata leaves out what the server itself keeps there.
func ownMetadata(v any) any {
	own, ok := v.(map[string]string)
	if !ok {
		return v
	}
	own = maps.Clone(own)
	maps.DeleteFunc(own, func(key, _ string) bool { return strings.HasPrefix(key, "_nats.") })
	if len(own) == 0 {
		return map[string]string(nil)
	}
	return own
}

func show(v any) string {
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		v = p.Elem().Interface()
	}
	return fmt.Sprintf("%v", v)
}
