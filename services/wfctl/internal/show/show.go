// Package show writes what wfctl has found: tables for people, JSON and YAML for programs. Text of others is shown without its control
// characters, so that no title or message can take over a terminal.
package show

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

	"workflow.uniconnect/pkg/protodoc"
)

// Format is how things are written.
type Format string

// The formats.
const (
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Formats lists them for help and completion.
func Formats() []string { return []string{string(Table), string(Wide), string(JSON), string(YAML)} }

// Printer writes in one format.
type Printer struct {
	Out io.Writer
	// Notes is for what is said beside an answer; programs that read Out do not see it.
	Notes  io.Writer
	Format Format
	// Now is what ages count from.
	Now time.Time

	// documents counts those written, since YAML keeps several apart.
	documents int
}

// IsDocument tells whether messages are written whole.
func (p *Printer) IsDocument() bool { return p.Format == JSON || p.Format == YAML }

// Document writes a message as JSON or YAML.
func (p *Printer) Document(m proto.Message) error {
	format := protodoc.JSON
	if p.Format == YAML {
		format = protodoc.YAML
		if p.documents++; p.documents > 1 {
			if err := p.Line("---"); err != nil {
				return err
			}
		}
	}
	text, err := protodoc.Marshal(m, format)
	if err != nil {
		return err
	}
	_, err = p.Out.Write(text)
	return err
}

// Line writes one line.
func (p *Printer) Line(format string, args ...any) error {
	_, err := fmt.Fprintf(p.Out, format+"\n", args...)
	return err
}

// Note writes one line beside the answer.
func (p *Printer) Note(format string, args ...any) error {
	_, err := fmt.Fprintf(p.Notes, format+"\n", args...)
	return err
}

// Columns is a table. Columns whose name begins with ! are wide: they are shown when asked for.
type Columns struct {
	Names []string
	Rows  [][]string
	// Empty is noted when there are no rows.
	Empty string
}

// Add adds a row.
func (c *Columns) Add(cells ...string) { c.Rows = append(c.Rows, cells) }

// Table writes a table.
func (p *Printer) Table(c *Columns) error {
	if len(c.Rows) == 0 && c.Empty != "" {
		return p.Note("%s", c.Empty)
	}
	w := tabwriter.NewWriter(p.Out, 0, 0, 3, ' ', 0)
	write := func(cells []string) {
		shown := make([]string, 0, len(cells))
		for i, cell := range cells {
			if p.Format == Wide || !strings.HasPrefix(c.Names[i], "!") {
				shown = append(shown, cell)
			}
		}
		_, _ = fmt.Fprintln(w, strings.Join(shown, "\t")) // an error comes again from Flush
	}
	names := make([]string, len(c.Names))
	for i, name := range c.Names {
		names[i] = strings.TrimPrefix(name, "!")
	}
	write(names)
	for _, row := range c.Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = Text(cell); cells[i] == "" {
				cells[i] = "-"
			}
		}
		write(cells)
	}
	return w.Flush()
}

// Text makes a text one line without control characters.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control):
			return '\ufffd'
		}
		return r
	}, s)
}

// Cut shortens a text for a table.
func Cut(s string, limit int) string {
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	return string(runes[:limit-1]) + "…"
}

// Age tells how long ago something was, as exactly as people want to know.
func (p *Printer) Age(t time.Time) string {
	if t.Unix() <= 0 {
		return ""
	}
	return Short(max(time.Second, p.Now.Sub(t).Truncate(time.Second)))
}

// Short writes a duration in one or two units.
func Short(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Millisecond:
		return "<1ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < 10*time.Second && d%time.Second != 0:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + "s"
	case d < 2*time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 2*day:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d/day)) + "d"
}
