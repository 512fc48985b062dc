using KeyVa.Histories;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Histories;

/// <summary>
/// The checkers find what they are there for: validation, visibility or recovery is broken on purpose, and the histories of
/// serializable transactions accuse the store within a few seeds; without the defect the first of them do not.
/// </summary>
public sealed class StoreDefectTests(ITestOutputHelper output)
{
    private const int MostSeeds = 60;

    /// <summary>Seeds that are run without the defect too.</summary>
    private const int MostClean = 4;

    /// <summary>A call over a socket takes longer than a sync in memory, and would see few commits on their way to the disk.</summary>
    private static readonly TimeSpan SlowDisk = TimeSpan.FromMilliseconds(2);

    /// <summary>
    /// What is shown too early is seen by who began while it was on its way to the disk, and reads on behind that. Without pauses few do, and where all threads share one processor hardly anybody.
    /// </summary>
    private static readonly TimeSpan ReadTime = TimeSpan.FromMilliseconds(1);

    // Half of the transactions only read, and long enough for a commit to come between: those that write are validated, and
    // one that has seen half a commit fails.
    private static readonly ListWorkloadOptions Lists = new() { Keys = 3, MinLength = 3, MaxLength = 10, ReadShare = 0.85 };

    [Theory]
    [InlineData(nameof(Defects.SkipsValidation), EngineKind.Lsm, 1)]
    [InlineData(nameof(Defects.SkipsValidation), EngineKind.Memory, 3)]
    [InlineData(nameof(Defects.ShowsCommitsEarly), EngineKind.Lsm, 3)]
    [InlineData(nameof(Defects.ShowsCommitsEarly), EngineKind.Memory, 3)]
    [InlineData(nameof(Defects.ForgetsPartOfCommit), EngineKind.Lsm, 3)]
    [InlineData(nameof(Defects.ForgetsPartOfCommit), EngineKind.Memory, 2)]
    public Task IsFound(string defect, EngineKind engine, int partitions) => FindAsync(defect, engine, partitions, isServed: false);

    [Theory]
    [InlineData(nameof(Defects.SkipsValidation), EngineKind.Lsm, 1)]
    [InlineData(nameof(Defects.ShowsCommitsEarly), EngineKind.Memory, 3)]
    [InlineData(nameof(Defects.ForgetsPartOfCommit), EngineKind.Lsm, 3)]
    public Task IsFoundOverGrpc(string defect, EngineKind engine, int partitions) => FindAsync(defect, engine, partitions, isServed: true);

    private async Task FindAsync(string defect, EngineKind engine, int partitions, bool isServed)
    {
        string? found = null;
        int seed = 0;
        bool thinks = !isServed && defect == nameof(Defects.ShowsCommitsEarly);
        for (; found is null && seed < MostSeeds; seed++)
        {
            found = await AccusationAsync(seed, engine, partitions, Enum.Parse<Defects>(defect), isServed, thinks);
        }

        Assert.True(found is not null, $"{defect} was not found in {MostSeeds} seeds");
        output.WriteLine($"{defect}: seed {seed - 1}: {found}");
        for (int clean = 0; clean < Math.Min(seed, MostClean); clean++)
        {
            Assert.Null(await AccusationAsync(clean, engine, partitions, Defects.None, isServed, thinks));
        }
    }

    private static async Task<string?> AccusationAsync(int seed, EngineKind engine, int partitions, Defects defects, bool isServed, bool thinks)
    {
        TransactionRun run = new(seed, engine, Durability.Always, partitions, new TransactionOptions(), defects)
        {
            Lists = Lists,
            Served = isServed,
            OperationTime = isServed || thinks ? SlowDisk : TimeSpan.Zero,
            ReadTime = thinks ? ReadTime : TimeSpan.Zero,
        };
        (_, ListAppendResult result) = await run.CheckAsync();
        return result.Satisfies(ConsistencyModel.StrictSerializable) ? null : result.Explain(ConsistencyModel.StrictSerializable);
    }
}
