package predicate

import (
	"context"
	"sync"

	"workflow.uniconnect/pkg/expr"
)

// lazy is an expression that is compiled when it is first needed.
type lazy struct {
	env    *expr.Env
	source string
	want   expr.Type

	compile sync.Once
	program *expr.Program // not before compile is done
	err     error
}

func (l *lazy) prepare() error {
	l.compile.Do(func() { l.program, l.err = l.env.Compile(l.source, l.want) })
	return l.err
}

// Key is a dedupe key. It is safe for concurrent use.
type Key struct{ lazy }

// Prepare compiles the key. One that fails here has no value.
func (k *Key) Prepare() error { return k.prepare() }

// Eval returns the key's value as JSON data.
func (k *Key) Eval(ctx context.Context, scope expr.Scope) (any, error) {
	if err := k.prepare(); err != nil {
		return nil, err
	}
	return k.program.Eval(ctx, scope)
}
