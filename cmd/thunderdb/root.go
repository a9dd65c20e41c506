package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

// run carries out one command line, without the program's name, and returns
// the exit code of the process. It reads the environment for flags that args
// do not set, and returns soon after ctx has ended.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return report(stderr, cmd, err)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "thunderdb",
		Short: "A symmetric peer-to-peer key-value cluster",
		Long: `ThunderDB is a symmetric peer-to-peer key-value cluster: every node answers
every request, and passes it on to the node that owns the key.

Every flag can be set in the environment instead: THUNDERDB_ and its name in
capitals, with _ for -, such as THUNDERDB_ADDR. What stands on the command line
wins. Results go to standard output, messages to standard error. The exit code
is 0 when it is done, 1 when it failed, 2 when the command line is wrong, and 3
when the key was not found.`,
		Example: `  thunderdb put greeting 'good morning'
  thunderdb get greeting
  thunderdb status --addr http://10.0.0.7:8080`,
		SilenceErrors:     true, // report prints them
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return bindEnv(cmd) },
		Args:              cobra.ArbitraryArgs, // judged by noCommand
		RunE:              noCommand,
	}
	root.PersistentFlags().StringSlice("addr", []string{client.DefaultAddr},
		"node to talk to, as `URL` or host:port; several, separated by commas, stand in for each other")
	root.AddCommand(
		newServeCommand(), newDemoCommand(),
		newGetCommand(), newPutCommand(), newDeleteCommand(), newKeysCommand(),
		newImportCommand(), newExportCommand(),
		newStatusCommand(), newExplainCommand(), newLeaveCommand(), newForgetCommand(), newHealthCommand(),
		newBenchCommand(), newVersionCommand(),
	)
	root.SetHelpCommand(newHelpCommand())
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Args, completion.RunE = cobra.ArbitraryArgs, noShell // judged there
		completion.Example = "  source <(thunderdb completion bash)"
	}
	markFailures(root)
	return root
}

// noCommand is what thunderdb alone, or with a command it does not have, ends
// in: help for whoever wonders, and exit code 2 for a script.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError{fmt.Errorf("which command?\n\n%s", cmd.UsageString())}
	}
	return usageError{fmt.Errorf("unknown command %q", args[0])}
}

// newHelpCommand returns a help command that does not pass over names it does
// not know.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError{fmt.Errorf("no help for %q", strings.Join(args, " "))}
			}
			return about.Help()
		},
	}
}

// noShell is what completion for no shell, or for one that is not known, ends
// in: its output would be run.
func noShell(cmd *cobra.Command, args []string) error {
	return usageError{fmt.Errorf("completion for which shell: bash, fish, powershell or zsh? Not for %q", strings.Join(args, " "))}
}

// newClient returns a client of the nodes that --addr names.
func newClient(cmd *cobra.Command, opts client.Options) (*client.Client, error) {
	addrs, err := cmd.Flags().GetStringSlice("addr")
	if err != nil {
		return nil, err
	}
	c, err := opts.New(addrs...)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}
