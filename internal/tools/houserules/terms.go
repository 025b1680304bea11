package main

import "regexp"

// terms is the list of docs/style.md as patterns. An expression may span lines.
var terms = []term{
	{
		pattern: words(`(?:no|some|any|every)body|someone`),
		instead: "name the actor: client, caller, waiter, reader, operator",
	},
	{
		pattern: words(`who(?:m|so)?ever|(?:those|he|she|they|one) who`),
		instead: "name the actor: client, caller, waiter, reader, operator",
	},
	{
		pattern: regexp.MustCompile(`(?i)(?:\b\w+,?\s+)?\bwhom?\b`),
		allowed: words(`(?:clients?|callers?|users?|operators?|readers?|writers?|authors?|engineers?|developers?|administrators?|maintainers?|people),?\s+whom?|(?:those|one) who`),
		instead: "put a noun before it, or name the actor: client, caller, waiter, reader, operator",
	},
	{
		pattern: words(`any more`),
		allowed: regexp.MustCompile(`^A`),
		instead: "no longer",
	},
	{
		pattern: words(`for ever`),
		instead: "without limit",
	},
	{
		pattern: words(`anew`),
		instead: "again",
	},
	{
		pattern: words(`tells?|told|telling`),
		instead: "report, return, show, send, distinguish",
	},
	{
		pattern: words(`of (?:its|their|his|our|my|your) own`),
		instead: "say its own X, a separate X",
	},
	{
		pattern: words(`beside`),
		instead: "next to, with, during, at the same time as",
	},
	{
		pattern: regexp.MustCompile(`\bwhat\s+(?:is|are|was|were|has|have)\b`),
		instead: "name the thing",
	},
	{
		pattern: words(`refus(?:e|es|ed|ing|als?)|den(?:y|ies|ied|ying|ials?)`),
		allowed: words(`denial`),
		instead: "reject, rejection",
	},
	{
		pattern: words(`slots?`),
		instead: "permit, or place in the queue",
	},
	{
		pattern: words(`evict(?:s|ed|ing|ion)?`),
		instead: "displace",
	},
	{
		pattern:   words(`words?`),
		documents: true,
		instead:   "directive, subdirective, option, or value",
	},
}

// words matches an expression as whole words, in any case, with any space between them.
func words(expression string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(?:` + spaces.ReplaceAllString(expression, `\s+`) + `)\b`)
}

var spaces = regexp.MustCompile(` +`)
