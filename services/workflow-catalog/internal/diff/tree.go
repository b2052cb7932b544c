package diff

import (
	"maps"
	"reflect"
	"slices"
	"sort"
	"strconv"
)

// list is a list of steps: that of the workflow, or one inside a step.
type list struct {
	// parent is the key of the step that it is in; empty for the workflow's.
	parent string
	// field is its path from there, or the kind of step whose branches it is one of.
	field string
	// branch is the branch's index; noBranch where there are no branches.
	branch int
}

const noBranch = -1

// node is a step and its place.
type node struct {
	list
	id    string
	path  string
	step  map[string]any
	index int
}

func (n *node) title() string {
	title, _ := n.step["title"].(string)
	return title
}

// tree is all steps of a document. A key is a step's id, followed by a number where an id is not the first of its kind: drafts may have
// ids twice, or none.
type tree struct {
	nodes map[string]*node
	order []string // in which people read them
}

func newTree(document map[string]any) *tree {
	t := &tree{nodes: make(map[string]*node)}
	t.add(list{field: stepsField, branch: noBranch}, stepsField, document[stepsField])
	return t
}

func (t *tree) add(l list, path string, steps any) {
	for i, s := range items(steps) {
		step, ok := s.(map[string]any)
		if !ok {
			continue
		}
		n := &node{list: l, path: indexed(path, i), step: step, index: i}
		n.id, _ = step["id"].(string)
		key := n.id
		for again := 2; key == "" || t.nodes[key] != nil; again++ {
			key = n.id + "#" + strconv.Itoa(again)
		}
		t.nodes[key] = n
		t.order = append(t.order, key)
		for _, b := range blocks(step) {
			b.parent = key
			t.add(b.list, n.path+"."+b.path, b.steps)
		}
	}
}

// block is a list of steps inside a step.
type block struct {
	list
	path  string // from the step
	steps any
}

// direct returns the ways from a step to the steps inside.
func direct() [][]string {
	return [][]string{
		{"condition", "otherwise"}, {"bulk", "steps"}, {"bulk", "onItemError", "steps"}, {"waitForEvent", "onTimeout"}, {"onError", "steps"},
	}
}

// branched returns the members of a step that hold steps in each of their branches.
func branched() []string { return []string{"condition", "parallel"} }

const branchesField = "branches"

// blocks returns the lists of steps inside a step, in the order in which people read them.
func blocks(step map[string]any) []block {
	var found []block
	for _, kind := range branched() {
		for i, b := range branchesOf(step, kind) {
			path := joined(indexed(joined(kind, branchesField), i), stepsField)
			found = append(found, block{list{field: kind, branch: i}, path, member(b, stepsField)})
		}
	}
	for _, route := range direct() {
		var at any = step
		field := ""
		for _, name := range route {
			at, field = member(at, name), joined(field, name)
		}
		found = append(found, block{list{field: field, branch: noBranch}, field, at})
	}
	return found
}

func branchesOf(step map[string]any, kind string) []any {
	return items(member(step[kind], branchesField))
}

// bareStep returns a step without the steps inside, which are compared for themselves, and without its id, which is the same on both sides.
func bareStep(step map[string]any) map[string]any {
	bare := maps.Clone(step)
	delete(bare, "id")
	for _, kind := range branched() {
		branches := branchesOf(step, kind)
		if len(branches) == 0 {
			continue
		}
		for i, b := range branches {
			branches[i] = without(b, stepsField)
		}
		owner := maps.Clone(bare[kind].(map[string]any))
		owner[branchesField] = branches
		bare[kind] = owner
	}
	for _, route := range direct() {
		if kind, ok := bare[route[0]]; ok {
			bare[route[0]] = without(kind, route[1], route[2:]...)
		}
	}
	return bare
}

// without returns value without the member that the names lead to.
func without(value any, name string, inner ...string) any {
	object, ok := value.(map[string]any)
	if !ok || object[name] == nil {
		return value
	}
	object = maps.Clone(object)
	if len(inner) == 0 {
		delete(object, name)
	} else {
		object[name] = without(object[name], inner[0], inner[1:]...)
	}
	return object
}

// moved returns the steps that are on both sides and not where they were: in another list, or in another order among those that stayed.
// Of those that changed their order it names as few as possible.
func (c *comparison) moved() map[string]bool {
	moved := make(map[string]bool)
	stayed := make(map[list][]string) // by list of the new side, in its order
	lists := make(map[list]list)      // of the old side, as the new side has them
	for _, key := range c.to.order {
		was, now := c.from.nodes[key], c.to.nodes[key]
		if was == nil {
			continue
		}
		there, known := lists[was.list]
		if !known {
			there = c.counterpart(was.list)
			lists[was.list] = there
		}
		if there != now.list {
			moved[key] = true
			continue
		}
		stayed[now.list] = append(stayed[now.list], key)
	}
	for _, keys := range stayed {
		order := make([]int, len(keys))
		for i, key := range keys {
			order[i] = c.from.nodes[key].index
		}
		for i, rises := range longestRise(order) {
			if !rises {
				moved[keys[i]] = true
			}
		}
	}
	return moved
}

// counterpart returns what a list of the old side is on the new side. It is a list that nothing is in when there is none.
func (c *comparison) counterpart(l list) list {
	if l.branch == noBranch {
		return l
	}
	now := c.to.nodes[l.parent]
	if now == nil {
		return l
	}
	of := list{l.parent, l.field, noBranch}
	pairs, known := c.pairs[of]
	if !known {
		pairs = pair(branchesOf(c.from.nodes[l.parent].step, l.field), branchesOf(now.step, l.field))
		c.pairs[of] = pairs
	}
	l.branch = pairs[l.branch]
	return l
}

// nowhere is the index of a branch that is gone.
const nowhere = -2

// maxPairs bounds the work of pairing branches. A workflow that can be saved is below it; a draft need not be.
const maxPairs = 10_000

// pair returns the index on the new side of each branch of the old: the same where as many branches are there, else that of the branch that
// says the same apart from its steps. What is in common at both ends is paired before the rest.
func pair(before, after []any) []int {
	pairs := make([]int, len(before))
	if len(before) == len(after) {
		for i := range pairs {
			pairs[i] = i
		}
		return pairs
	}
	for _, branches := range [][]any{before, after} {
		for i, b := range branches {
			branches[i] = without(b, stepsField)
		}
	}
	start, end := 0, 0
	for shorter := min(len(before), len(after)); start < shorter && reflect.DeepEqual(before[start], after[start]); start++ {
		pairs[start] = start
	}
	for shorter := min(len(before), len(after)) - start; end < shorter; end++ {
		i, j := len(before)-1-end, len(after)-1-end
		if !reflect.DeepEqual(before[i], after[j]) {
			break
		}
		pairs[i] = j
	}
	middle := pairs[start : len(before)-end]
	for i, j := range common(before[start:len(before)-end], after[start:len(after)-end]) {
		middle[i] = nowhere
		if j != nowhere {
			middle[i] = start + j
		}
	}
	return pairs
}

// common returns for each value of the old side its index in the new, or nowhere, by a longest common subsequence.
func common(before, after []any) []int {
	found := make([]int, len(before))
	for i := range found {
		found[i] = nowhere
	}
	if len(before)*len(after) > maxPairs {
		return found
	}
	length := make([][]int, len(before)+1)
	for i := range length {
		length[i] = make([]int, len(after)+1)
	}
	for i := len(before) - 1; i >= 0; i-- {
		for j := len(after) - 1; j >= 0; j-- {
			length[i][j] = max(length[i+1][j], length[i][j+1])
			if reflect.DeepEqual(before[i], after[j]) {
				length[i][j] = length[i+1][j+1] + 1
			}
		}
	}
	for i, j := 0, 0; i < len(before) && j < len(after); {
		switch {
		case reflect.DeepEqual(before[i], after[j]):
			found[i] = j
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			i++
		default:
			j++
		}
	}
	return found
}

// longestRise marks the members of a longest increasing subsequence of distinct numbers.
func longestRise(numbers []int) []bool {
	tails := []int{} // positions of the smallest last member of a rise of each length
	before := make([]int, len(numbers))
	for i, n := range numbers {
		length := sort.Search(len(tails), func(k int) bool { return numbers[tails[k]] >= n })
		before[i] = -1
		if length > 0 {
			before[i] = tails[length-1]
		}
		if length == len(tails) {
			tails = append(tails, i)
		}
		tails[length] = i
	}
	member := make([]bool, len(numbers))
	if len(tails) > 0 {
		for i := tails[len(tails)-1]; i >= 0; i = before[i] {
			member[i] = true
		}
	}
	return member
}

// items returns a copy of the members of a list, and none of anything else.
func items(value any) []any {
	members, _ := value.([]any)
	return slices.Clone(members)
}

func member(value any, name string) any {
	object, _ := value.(map[string]any)
	return object[name]
}
