package protodoc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// The YAML is written here and not by a library, whose next release may choose other styles: the same configuration must stay the same
// text for years, or every diff in git shows noise.

const indentStep = 2

func writeYAML(out *bytes.Buffer, n *node) {
	writeBlock(out, n, 0)
}

// writeBlock writes a node that begins at the start of a line or behind the dash of a list, and ends the line.
func writeBlock(out *bytes.Buffer, n *node, indent int) {
	switch {
	case n.kind == object && len(n.members) > 0:
		for i, m := range n.members {
			if i > 0 {
				pad(out, indent)
			}
			writeMember(out, m, indent)
		}
	case n.kind == list && len(n.items) > 0:
		for i, item := range n.items {
			if i > 0 {
				pad(out, indent)
			}
			out.WriteString("- ")
			writeBlock(out, item, indent+indentStep)
		}
	default:
		out.WriteString(yamlScalar(n, indent-indentStep))
		out.WriteByte('\n')
	}
}

// maxSimpleKey is below what YAML allows for a key without a question mark, 1024 characters.
const maxSimpleKey = 1000

func writeMember(out *bytes.Buffer, m member, indent int) {
	key := yamlText(m.key)
	if len(key) > maxSimpleKey {
		out.WriteString("? " + key + "\n")
		pad(out, indent)
	} else {
		out.WriteString(key)
	}
	out.WriteByte(':')
	switch v := m.value; {
	case v.kind == object && len(v.members) > 0, v.kind == list && len(v.items) > 0:
		out.WriteByte('\n')
		pad(out, indent+indentStep)
		writeBlock(out, v, indent+indentStep)
	default:
		out.WriteString(" " + yamlScalar(v, indent) + "\n")
	}
}

func pad(out *bytes.Buffer, indent int) { out.WriteString(strings.Repeat(" ", indent)) }

// yamlScalar writes what is no filled object or list; a block of text is indented below indent.
func yamlScalar(n *node, indent int) string {
	switch n.kind {
	case null:
		return "null"
	case object:
		return "{}"
	case list:
		return "[]"
	case text:
		if asBlock(n.text) {
			return yamlBlock(n.text, indent+indentStep)
		}
		return yamlText(n.text)
	default:
		return n.text
	}
}

// asBlock tells whether a text is shown line by line. What editors change without being asked, space at the end of lines, is quoted.
func asBlock(s string) bool {
	body := strings.TrimSuffix(s, "\n")
	if !strings.Contains(s, "\n") || body == "" || strings.HasSuffix(body, "\n") || strings.ContainsAny(body[:1], " \t\n") {
		return false
	}
	for line := range strings.SplitSeq(body, "\n") {
		if strings.HasSuffix(line, " ") || strings.HasSuffix(line, "\t") {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && !harmless(r) })
}

func yamlBlock(s string, indent int) string {
	var out strings.Builder
	out.WriteByte('|')
	body, ended := strings.CutSuffix(s, "\n")
	if !ended {
		out.WriteByte('-')
	}
	for line := range strings.SplitSeq(body, "\n") {
		out.WriteByte('\n')
		if line != "" {
			out.WriteString(strings.Repeat(" ", indent) + line)
		}
	}
	return out.String()
}

// bareRegexp holds texts that need no quotes in any place and any version of YAML, as far as their first characters go.
var bareRegexp = regexp.MustCompile(`^[\pL$_/0-9][^\n\t]*$`)

// numberLikeRegexp holds texts that some version of YAML takes for a number, a time or a date.
var numberLikeRegexp = regexp.MustCompile(`^[0-9][-+.0-9_:eExXoObBa-fA-FTtZz ]*$`)

// yamlText writes a text on one line, in quotes unless it is plainly a text.
func yamlText(s string) string {
	bare := bareRegexp.MatchString(s) && !numberLikeRegexp.MatchString(s) && !isWord(s) && !strings.HasSuffix(s, " ") &&
		!strings.HasSuffix(s, ":") && !strings.Contains(s, ": ") && !strings.Contains(s, " #") &&
		!strings.ContainsFunc(s, func(r rune) bool { return !harmless(r) })
	if bare {
		return s
	}
	return quoted(s)
}

// isWord tells whether some version of YAML takes a text for null or a truth value.
func isWord(s string) bool {
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return true
	}
	return false
}

// harmless tells whether a character is shown as it is, by editors as by parsers. The joiners inside emoji and some scripts are.
func harmless(r rune) bool {
	const noBreakSpace, nonJoiner, joiner = '\u00a0', '\u200c', '\u200d'
	return unicode.IsGraphic(r) && r != noBreakSpace || r == nonJoiner || r == joiner
}

// quoted writes a text in double quotes, which JSON and YAML read alike.
func quoted(s string) string {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string can always be encoded
	var out strings.Builder
	for _, r := range strings.TrimSuffix(encoded.String(), "\n") {
		if harmless(r) || r > 0xffff { // beyond that, JSON and YAML escape differently
			out.WriteRune(r)
			continue
		}
		fmt.Fprintf(&out, `\u%04x`, r)
	}
	return out.String()
}

func writeJSON(out *bytes.Buffer, n *node, indent int) {
	open, closing, count := "{", "}", len(n.members)
	switch n.kind {
	case object:
	case list:
		open, closing, count = "[", "]", len(n.items)
	case null:
		out.WriteString("null")
		return
	case text:
		out.WriteString(quoted(n.text))
		return
	default:
		out.WriteString(n.text)
		return
	}
	out.WriteString(open)
	for i := range count {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
		pad(out, indent+indentStep)
		if n.kind == object {
			out.WriteString(quoted(n.members[i].key) + ": ")
			writeJSON(out, n.members[i].value, indent+indentStep)
			continue
		}
		writeJSON(out, n.items[i], indent+indentStep)
	}
	if count > 0 {
		out.WriteByte('\n')
		pad(out, indent)
	}
	out.WriteString(closing)
}
