package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every flag of every command can be set in the environment.
func TestEveryFlagHasAnEnvironmentVariable(t *testing.T) {
	samples := map[string]string{
		"string": "x", "bool": "true", "int": "7", "float64": "0.7", "duration": "7s", "stringSlice": "a,b",
	}
	var names []string
	everyFlag(newRootCommand(), func(_ *cobra.Command, f *pflag.Flag) {
		sample := samples[f.Value.Type()]
		if words := strings.Split(f.Value.Type(), "|"); len(words) > 1 {
			sample = words[1] // of a choice
		}
		if sample == "" {
			t.Fatalf("--%s is a %s, which has no sample", f.Name, f.Value.Type())
		}
		t.Setenv("THUNDERDB_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")), sample)
		names = append(names, f.Name)
	})
	if len(names) < 20 {
		t.Fatalf("only %d flags were found: %v", len(names), names)
	}
	everyFlag(newRootCommand(), func(cmd *cobra.Command, f *pflag.Flag) {
		if err := bindEnv(cmd); err != nil {
			t.Fatal(err)
		}
		if !f.Changed {
			t.Errorf("%s --%s cannot be set in the environment", cmd.Name(), f.Name)
		}
	})
}

// everyFlag calls visit for each flag but help of each command under cmd.
func everyFlag(cmd *cobra.Command, visit func(*cobra.Command, *pflag.Flag)) {
	for _, sub := range cmd.Commands() {
		everyFlag(sub, visit)
		sub.InheritedFlags() // adds them to sub.Flags
		sub.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				visit(sub, f)
			}
		})
	}
}

// Every command says what it is for, by example, and is found in the help.
func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	for _, cmd := range newRootCommand().Commands() {
		if cmd.Short == "" || cmd.Example == "" || cmd.Args == nil {
			t.Errorf("%s lacks a short text, an example or a check of its arguments", cmd.Name())
		}
	}
}
