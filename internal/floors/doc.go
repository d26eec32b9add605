// Package floors holds the test of the architecture: who may import whom, where the heavy imports live, who may write
// files, and how long a file or a function may be.
package floors
