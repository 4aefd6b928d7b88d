package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kernel-playground/kplay/harness/template"
)

func newCache() *cobra.Command {
	c := &cobra.Command{
		Use: "cache", Short: "Show and remove the frozen machines that spare boots",
		Long: "A kernel is booted once and frozen; later runs start from that template. Templates\nare removed by themselves, the one unused for longest first, when all together\ntake more than " + bytesText(template.DefaultLimit) + ".",
		Args: between(0, 0),
	}
	c.AddCommand(newCacheList(), newCachePrune())
	return c
}

func newCacheList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "ls", Short: "List the templates, the one used last first", Args: between(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			store, err := templates()
			if err != nil {
				return err
			}
			all, err := store.List()
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(all)
			}
			return listTemplates(c.OutOrStdout(), all)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return c
}

func listTemplates(w io.Writer, all []template.Info) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TEMPLATE\tSIZE\tUSED\tOF")
	var sum int64
	for _, i := range all {
		fmt.Fprintf(t, "%.12s\t%s\t%s\t%s\n", i.Key, bytesText(i.Bytes), i.Used.Format(time.DateTime), i.Title)
		sum += i.Bytes
	}
	fmt.Fprintf(t, "%d in all\t%s\t\t\n", len(all), bytesText(sum))
	return t.Flush()
}

func newCachePrune() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "prune", Short: "Remove templates, the one unused for longest first", Args: between(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			limit, err := parseBytes(to)
			if err != nil {
				return usageError{fmt.Errorf("--to %s: %w", to, err)}
			}
			store, err := templates()
			if err != nil {
				return err
			}
			gone, err := store.Prune(limit)
			var sum int64
			for _, i := range gone {
				sum += i.Bytes
			}
			fmt.Fprintf(c.OutOrStdout(), "removed %d templates, %s\n", len(gone), bytesText(sum))
			return err
		},
	}
	c.Flags().StringVar(&to, "to", "0", "keep as many as fit into this `size`, as 500M or 2G")
	return c
}

func templates() (*template.Store, error) {
	dir, err := cacheDir()
	return &template.Store{Dir: template.Dir(dir)}, err
}

// units are powers of 1024.
const units = "KMGT"

func bytesText(n int64) string {
	value, unit := float64(n), "B"
	for _, u := range units {
		if value < 1024 {
			break
		}
		value, unit = value/1024, string(u)+"iB"
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

func parseBytes(s string) (int64, error) {
	number, scale := s, int64(1)
	if i := strings.IndexAny(s, units); i >= 0 && i == len(s)-1 {
		number, scale = s[:i], int64(1)<<(10*(strings.IndexByte(units, s[i])+1))
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/scale {
		return 0, fmt.Errorf("it is no size: write bytes, or a number followed by K, M, G or T")
	}
	return n * scale, nil
}
