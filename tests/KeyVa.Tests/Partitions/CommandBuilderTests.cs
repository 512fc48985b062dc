using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Partitions;

public sealed class CommandBuilderTests
{
    [Fact]
    public void AKeyTwiceIsFoundWhereItStands()
    {
        using var builder = new CommandBuilder();
        for (int seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            builder.Clear();
            var seen = new HashSet<string>();
            int expected = -1;
            int count = random.Next(1, 200);
            int alphabet = random.Next(2) == 0 ? 100 : 100_000;
            for (int i = 0; i < count; i++)
            {
                if (random.Next(9) == 0)
                {
                    // Ranges are no keys: they stand among them and are not compared.
                    builder.RemoveRange("k"u8, default);
                    continue;
                }

                string key = new string('k', random.Next(0, 2)) + random.Next(alphabet);
                if (!seen.Add(key) && expected < 0)
                {
                    expected = i;
                }

                if (random.Next(2) == 0)
                {
                    builder.Put(System.Text.Encoding.ASCII.GetBytes(key), "v"u8, default);
                }
                else
                {
                    builder.Remove(System.Text.Encoding.ASCII.GetBytes(key), default, blind: true);
                }
            }

            Assert.True(expected == builder.DuplicateKey, $"seed {seed}: {expected} expected, {builder.DuplicateKey} found");
            Assert.Equal(count, builder.Count);
        }
    }

    [Fact]
    public void NotesWhatAdmissionNeeds()
    {
        using var builder = new CommandBuilder();
        builder.Remove("abc"u8, default, blind: false);
        Assert.True(builder.OnlyRemovals && builder.HasRemovals);
        builder.Put("k"u8, new byte[10], default);
        Assert.False(builder.OnlyRemovals);
        Assert.Equal((1, 3, 10, 14L), (builder.ShortestKey, builder.LongestKey, builder.LongestValue, builder.DataBytes));
        builder.Clear();
        Assert.True(builder.OnlyRemovals && !builder.HasRemovals);
        Assert.Equal((int.MaxValue, 0, 0, 0L), (builder.ShortestKey, builder.LongestKey, builder.LongestValue, builder.DataBytes));
    }
}
