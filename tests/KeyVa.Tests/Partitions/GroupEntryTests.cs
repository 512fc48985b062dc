using KeyVa.Log;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Partitions;

/// <summary>What a group of commands is in the journal: read back as written, short, and the long head of older journals too.</summary>
public sealed class GroupEntryTests
{
    private const long Stamp = 1_700_000_000_000;

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(300)]
    public void AGroupIsReadAsItWasWritten(int commands)
    {
        using var command = new CommandBuilder();
        var entry = new GroupEntry(1, static () => { });

        // Twice: an entry is filled again and again, and its head has another length each time.
        foreach (long version in new long[] { long.MaxValue, 5 })
        {
            var written = new List<byte[]>();
            entry.Begin(0, 9);
            for (int i = 0; i < commands; i++)
            {
                command.Clear();
                command.Put([(byte)i, 1], new byte[i], default);
                entry.Add(command);
                written.Add(command.Buffer.Written.ToArray());
            }

            entry.Seal(version, Stamp);
            Assert.True(GroupReader.TryOpen(entry.Content, out GroupReader group));
            Assert.Equal((version, Stamp, commands), (group.Version, group.Stamp, group.Count));
            var read = new List<byte[]>();
            while (group.TryRead(out ReadOnlySpan<byte> bytes))
            {
                read.Add(bytes.ToArray());
            }

            Assert.Equal(written, read);
        }
    }

    [Fact]
    public void APutTakesLittleMoreThanItsKeyAndValue()
    {
        using var command = new CommandBuilder();
        command.Put(new byte[16], new byte[100], default);
        var entry = new GroupEntry(1, static () => { });
        entry.Begin(0, 1_999_999);
        entry.Add(command);
        entry.Seal(1_999_999, Stamp);
        Assert.Equal(116 + 13, entry.ContentLength);
        Assert.Equal(GroupBuilder.Size(entry), JournalFormat.Align(entry.ContentLength + 11));
    }

    [Fact]
    public void HeadsThatAreNoneAreRefused()
    {
        byte[] head = [GroupEntry.Format | GroupEntry.ShortHeadBit, 5, 6, 1];
        Assert.True(GroupReader.TryOpen(head, out _));
        for (int length = 0; length < head.Length; length++)
        {
            Assert.False(GroupReader.TryOpen(head.AsSpan(0, length), out _));
        }

        foreach (int first in new[] { GroupEntry.IngestFormat | GroupEntry.ShortHeadBit, GroupEntry.ShortHeadBit, GroupEntry.CommitFormat | GroupEntry.ShortHeadBit, (GroupEntry.SettingsFormat + 1) | GroupEntry.ShortHeadBit, 64 | GroupEntry.Format | GroupEntry.ShortHeadBit, 128 | GroupEntry.Format | GroupEntry.ShortHeadBit })
        {
            head[0] = (byte)first;
            Assert.False(GroupReader.TryOpen(head, out _));
        }
    }
}
