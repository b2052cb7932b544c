// Package remains looks for what is left of something that was deleted: it searches every column of every table, and every message of
// every stream and bucket, for an id or a name in any form in which a program would keep it.
package remains

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
)

// Places counts what was found, by place: `schema.table` or `stream NAME`.
type Places map[string]int

// Add counts another place's findings too.
func (p Places) Add(others Places) {
	for place, n := range others {
		p[place] += n
	}
}

// Names lists the places in order.
func (p Places) Names() []string { return slices.Sorted(maps.Keys(p)) }

// Rows counts the rows that hold the id anywhere, by table, over all tables of all schemas.
func Rows(ctx context.Context, db *pgxpool.Pool, id string) (Places, error) {
	m, err := newMatcher(id)
	if err != nil {
		return nil, err
	}
	return search(ctx, db, m)
}

// RowsNaming is Rows for a name, which must be one that nothing else holds by chance.
func RowsNaming(ctx context.Context, db *pgxpool.Pool, name string) (Places, error) {
	m, err := nameMatcher(name)
	if err != nil {
		return nil, err
	}
	return search(ctx, db, m)
}

func search(ctx context.Context, db *pgxpool.Pool, m *matcher) (Places, error) {
	rows, err := db.Query(ctx, `
		SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND n.nspname !~ '^(pg_|information_schema)'`)
	if err != nil {
		return nil, err
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (pgx.Identifier, error) {
		name := make(pgx.Identifier, 2)
		err := row.Scan(&name[0], &name[1])
		return name, err
	})
	if err != nil {
		return nil, err
	}
	if len(tables) < minTables {
		return nil, fmt.Errorf("only %d tables found: %v", len(tables), tables)
	}
	found := make(Places)
	for _, table := range tables {
		n, err := rowsOf(ctx, db, table, m)
		if err != nil {
			return nil, fmt.Errorf("search %s: %w", table.Sanitize(), err)
		}
		if n > 0 {
			found[strings.Join(table, ".")] = n
		}
	}
	return found, nil
}

// minTables guards against a search that looks at the wrong database and finds nothing.
const minTables = 10

// rowsOf counts the rows of one table that hold the id. It looks at values as they come over the wire: text as text, bytes and ids as
// their bytes.
func rowsOf(ctx context.Context, db *pgxpool.Pool, table pgx.Identifier, m *matcher) (int, error) {
	rows, err := db.Query(ctx, `SELECT * FROM `+table.Sanitize())
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		if slices.ContainsFunc(rows.RawValues(), func(value []byte) bool { return m.in(string(value)) }) {
			n++
		}
	}
	return n, rows.Err()
}

// Messages counts the messages that hold the id in subject, headers or body, by stream, over all streams; a bucket is a stream too. A stream
// whose own configuration or consumers name the id counts as well.
func Messages(ctx context.Context, js jetstream.JetStream, id string) (Places, error) {
	m, err := newMatcher(id)
	if err != nil {
		return nil, err
	}
	return searchMessages(ctx, js, m)
}

// MessagesNaming is Messages for a name.
func MessagesNaming(ctx context.Context, js jetstream.JetStream, name string) (Places, error) {
	m, err := nameMatcher(name)
	if err != nil {
		return nil, err
	}
	return searchMessages(ctx, js, m)
}

func searchMessages(ctx context.Context, js jetstream.JetStream, m *matcher) (Places, error) {
	found := make(Places)
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		place := "stream " + info.Config.Name
		stream, err := js.Stream(ctx, info.Config.Name)
		if err != nil {
			return nil, err
		}
		about := []any{info}
		consumers := stream.ListConsumers(ctx)
		for consumer := range consumers.Info() {
			about = append(about, consumer)
		}
		text, err := json.Marshal(about)
		if err := errors.Join(err, consumers.Err()); err != nil {
			return nil, err
		}
		if m.in(string(text)) {
			found[place]++
		}
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
			msg, err := stream.GetMsg(ctx, seq)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("read message %d of %s: %w", seq, info.Config.Name, err)
			}
			if m.in(msg.Subject) || m.in(fmt.Sprint(msg.Header)) || m.in(string(msg.Data)) {
				found[place]++
			}
		}
	}
	return found, streams.Err()
}

// matcher recognises an id: its bytes, its text in either case, its bytes in hexadecimal, and any of these in base64.
type matcher struct {
	bytes   string
	plain   []string // in lower case
	encoded []string // in the standard alphabet
}

func newMatcher(id string) (*matcher, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return nil, err
	}
	return matcherOf(string(parsed[:]), parsed.String(), hex.EncodeToString(parsed[:])), nil
}

// minName is below what a name could be found of by chance, in text or in base64.
const minName = 8

func nameMatcher(name string) (*matcher, error) {
	if len(name) < minName {
		return nil, fmt.Errorf("the name %q is so short that others may hold it", name)
	}
	return matcherOf(name, strings.ToLower(name)), nil
}

func matcherOf(bytes string, plain ...string) *matcher {
	m := &matcher{bytes: bytes, plain: plain}
	for _, form := range append([]string{m.bytes}, m.plain...) {
		// Three shapes, for where in a longer value it begins, without the characters that are shared with what stands before and after.
		for shift := range 3 {
			padded := strings.Repeat("\x00", shift) + form
			whole := base64.RawStdEncoding.EncodeToString([]byte(padded))
			m.encoded = append(m.encoded, whole[(shift*8+5)/6:len(padded)*8/6])
		}
	}
	return m
}

func (m *matcher) in(text string) bool {
	if len(text) < len(m.bytes) {
		return false
	}
	if strings.Contains(text, m.bytes) || containsAny(strings.ToLower(text), m.plain) {
		return true
	}
	return containsAny(strings.NewReplacer("-", "+", "_", "/").Replace(text), m.encoded)
}

func containsAny(text string, forms []string) bool {
	return slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(text, form) })
}
