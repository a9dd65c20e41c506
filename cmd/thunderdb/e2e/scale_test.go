//go:build !long

package e2e

// How much the tests do that run often.
const (
	crashRounds  = 3
	crashWriters = 50
	crashWrites  = 3000
)
