// Package expr compiles and evaluates CEL expressions (https://cel.dev) over JSON data, and the `${…}` templates that hold them.
// It owns the rules which every expression of the platform shares: which number is an int, how much an expression may cost, how an
// error names line and column, what a value looks like once it is JSON again. Which variables an expression sees is the caller's to
// say.
//
// # Cost
//
// An expression without comprehensions, regular expressions and `+` does work in proportion to its own length and its input, both of
// which are bounded, so it runs without accounting. Any other runs under a cost limit of 1,000,000 units, about a tenth of a second:
// the figure Kubernetes uses per call (k8s.io/apiserver/pkg/apis/cel).
package expr
