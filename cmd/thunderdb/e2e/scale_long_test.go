//go:build long

package e2e

// How much the tests do that have minutes.
const (
	crashRounds  = 20
	crashWriters = 50
	crashWrites  = 50_000
)
