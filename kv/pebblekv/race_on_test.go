//go:build race

package pebblekv

// raceEnabled lets tests do less where each step is slow.
const raceEnabled = true
