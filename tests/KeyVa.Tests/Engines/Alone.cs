using Xunit;

namespace KeyVa.Tests.Engines;

/// <summary>
/// Tests that count what was reclaimed at once: epochs are the process's, so a reader of another test would hold it up.
/// They run when the others are done, one after the other.
/// </summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone;
