package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// bindEnv sets each flag of cmd, its own and inherited ones, that the command
// line did not set, from its environment variable where that is set and not
// empty. It runs before every command: the root's PersistentPreRunE, which a
// command must not replace by its own.
func bindEnv(cmd *cobra.Command) error {
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" {
			return
		}
		value := os.Getenv(envName(f.Name))
		if value == "" {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", envName(f.Name), err))
		}
	})
	return errors.Join(errs...)
}

// envName returns the environment variable of a flag.
func envName(flag string) string {
	return "THUNDERDB_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
