package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

// The exit codes. What a command itself returns is a failure, unless it is a
// usageError or says that a key was not found; whatever stops a command from
// being run at all is a mistake in its usage.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
)

// usageError is a mistake in the command line that only the command noticed.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// failure is an error that a command returned, when it was run.
type failure struct{ error }

func (e failure) Unwrap() error { return e.error }

// markFailures makes every command under cmd, and cmd itself, return its
// errors as failures, so that report can tell them from those of cobra.
func markFailures(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if err := run(cmd, args); err != nil {
				return failure{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markFailures(sub)
	}
}

// report prints err, what cmd ended with, and returns the exit code.
func report(stderr io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	// Where standard error is gone, only the exit code is left to tell.
	_, _ = fmt.Fprintf(stderr, "thunderdb: %v\n", err)
	var failed failure
	var usage usageError
	switch {
	case !errors.As(err, &failed) || errors.As(err, &usage):
		_, _ = fmt.Fprintf(stderr, "Usage: %s\nRun '%s --help' for more.\n", cmd.UseLine(), cmd.CommandPath())
		return exitUsage
	case errors.Is(err, client.ErrNotFound), errors.Is(err, client.ErrNoMember):
		return exitNotFound
	}
	return exitFailed
}
