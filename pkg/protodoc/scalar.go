package protodoc

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var (
	// numberRegexp holds the numbers that JSON has.
	numberRegexp = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	// doubtfulRegexp holds texts that some version of YAML takes for a number and that are none in JSON: signs, leading zeros, other
	// bases, digits apart, no digit before or behind the point, infinity.
	doubtfulRegexp = regexp.MustCompile(`^[-+]?(\.?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|\.(inf|Inf|INF))$|^\.(nan|NaN|NAN)$`)
)

// resolved returns what a plain scalar means where no type says so: what YAML 1.2 says, when no other version says otherwise. The text
// of a refusal is the second result.
func resolved(n *node) (*node, string) {
	if n.kind != plain {
		return n, ""
	}
	r := *n
	switch lower := strings.ToLower(n.text); {
	case n.text == "", n.text == "~", lower == "null" && evenCase(n.text):
		r.kind, r.text = null, ""
	case (lower == "true" || lower == "false") && evenCase(n.text):
		r.kind, r.text = boolean, lower
	case (lower == "yes" || lower == "no" || lower == "on" || lower == "off") && evenCase(n.text):
		return n, fmt.Sprintf("%s is a truth value in some versions of YAML and text in others: write true, false or %s", n.text, quoted(n.text))
	case numberRegexp.MatchString(n.text):
		r.kind = number
	case doubtfulRegexp.MatchString(n.text):
		return n, fmt.Sprintf("%s is a number in some versions of YAML: write it as JSON has it, or %s when it is text", n.text, quoted(n.text))
	default:
		r.kind = text
	}
	return &r, ""
}

// evenCase tells whether a word is written as null, Null or NULL are.
func evenCase(s string) bool {
	return s == strings.ToLower(s) || s == strings.ToUpper(s) || s[1:] == strings.ToLower(s[1:])
}

// exact returns a number as a double, and whether it is the same number: of a whole one every digit counts, since it may be an
// identifier; a fraction is as near as doubles are.
func exact(text string) (float64, bool) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, false
	}
	return v, strings.ContainsAny(text, ".eE") || digitsOf(text) == digitsOf(strconv.FormatFloat(v, 'e', -1, 64))
}

// digitsOf returns the digits that count, without sign, point, exponent and the zeros around them.
func digitsOf(text string) string {
	mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
	return strings.Trim(strings.NewReplacer("-", "", "+", "", ".", "").Replace(mantissa), "0")
}
