// Package repo holds rules about the repository itself, as tests that say what is wrong and why it matters. The rules are data at the top of each
// file.
package repo
