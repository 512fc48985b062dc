using KeyVa.Engines;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>What the two styles promise: leveled little space, tiered little writing.</summary>
public sealed class AmplificationTests(ITestOutputHelper output)
{
    private const int Keys = 6000;
    private const int Rounds = 6;

    private static readonly EngineOptions Options = LsmFixture.SmallOptions with
    {
        MemtableBytes = 16 << 10,
        Level0Tables = 4,
        Level1Bytes = 32 << 10,
        LevelMultiplier = 10,
    };

    [Fact]
    public void LeveledTakesLittleSpaceAndTieredWritesLittle()
    {
        (double Space, double Writes) leveled = Run(CompactionStyle.Leveled);
        (double Space, double Writes) tiered = Run(CompactionStyle.Tiered);
        output.WriteLine($"leveled {leveled}, tiered {tiered}");

        // A ninth above the last level; what waits in level 0; and levels may be a little too large.
        Assert.InRange(leveled.Space, 1, 1.3);
        Assert.InRange(tiered.Space, 1, 3.2);
        Assert.True(tiered.Writes < leveled.Writes * 0.8, $"leveled {leveled}, tiered {tiered}");
    }

    private static (double Space, double Writes) Run(CompactionStyle style)
    {
        using LsmFixture fixture = new(Options with { CompactionStyle = style });
        Random random = new(11);
        string value = new('v', 100);
        for (int i = 0; i < Keys * Rounds; i++)
        {
            fixture.Put($"key{random.Next(Keys):D6}", value);
            if (i % 20 == 0)
            {
                fixture.Background.RunOne(random);
            }
        }

        fixture.Flush();
        EngineStatistics before = fixture.Engine.GetStatistics();
        PartitionCompaction compaction = new(CancellationToken.None);
        fixture.Engine.BeginCompaction(compaction, KeyRange.All);
        fixture.Background.RunAll(random);
        Assert.True(compaction.Completion.IsCompletedSuccessfully);
        long alive = fixture.Engine.Versions.Current.Tables.Sum(table => table.FileBytes);
        return ((double)before.Lsm!.Levels.Sum(level => level.Bytes) / alive, before.Lsm.WriteAmplification);
    }
}
