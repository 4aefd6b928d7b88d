package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/results/report"
)

func newResults() *cobra.Command {
	var dir string
	var asJSON bool
	c := &cobra.Command{
		Use: "results [RUN]", Short: "Show the runs of each upstream release, or one run in detail",
		Long: "Without RUN, show all runs, newest upstream release first. RUN is the ID of one,\nits beginning, or " + results.Latest + ".",
		Args: between(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if dir == "" {
				var err error
				if dir, err = results.DefaultDir(); err != nil {
					return err
				}
			}
			if len(args) == 1 {
				return showRun(c, dir, args[0], asJSON)
			}
			return showRuns(c, dir, asJSON)
		},
	}
	c.Flags().StringVar(&dir, "results", "", "`directory` the runs are kept in")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

func showRuns(c *cobra.Command, dir string, asJSON bool) error {
	runs, broken, err := results.List(dir)
	if err != nil {
		return err
	}
	for _, b := range broken {
		fmt.Fprintln(c.ErrOrStderr(), "kplay:", b)
	}
	if asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(runs)
	}
	if len(runs) == 0 {
		_, err := fmt.Fprintln(c.OutOrStdout(), "no runs in", dir)
		return err
	}
	return report.Runs(c.OutOrStdout(), runs)
}

func showRun(c *cobra.Command, dir, id string, asJSON bool) error {
	run, err := results.Load(dir, id)
	if err != nil {
		return kernel.UserError(err.Error())
	}
	if asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(run)
	}
	o := textOptions(c.OutOrStdout())
	o.Reproduce = func(r results.Result) string {
		return "kplay run " + quote(run.Build.Source) + " " + r.Again()
	}
	return report.Detail(c.OutOrStdout(), run, o)
}
