using KeyVa.Cluster.Driver;
using KeyVa.Commits;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Sessions;
using Xunit;

namespace KeyVa.Tests.Partitions;

/// <summary>A partition's own settings by themselves: what they may be, when a change counts, and that they come back from their bytes.</summary>
public sealed class SettingsTableTests
{
    [Theory]
    [InlineData("acknowledgement", "async", "async")]
    [InlineData("acknowledgement", "semi-sync", "semi-sync=1")]
    [InlineData("acknowledgement", "semi-sync=63", "semi-sync=63")]
    [InlineData("acknowledgement", "sync", "sync")]
    [InlineData("acknowledgement", "default", "default")]
    [InlineData("acknowledgement", "semi-sync=64", null)]
    [InlineData("acknowledgement", "", null)]
    [InlineData("acknowledgement", "Async", null)]
    [InlineData("retention", "default", null)]
    [InlineData("", "async", null)]
    public void ASettingIsReadOrRefused(string name, string value, string? read)
    {
        Assert.Equal(read is not null, PartitionSettings.None.TryWith(name, value, out PartitionSettings? changed));
        Assert.Equal(read, changed?.ValueOf(name));
        Assert.Equal(name == "acknowledgement", PartitionSettings.AllowedFor(name) is not null);
        Assert.Equal(read is not null, SettingsTable.Knows(System.Text.Encoding.UTF8.GetBytes(name), System.Text.Encoding.UTF8.GetBytes(value)));
    }

    [Fact]
    public void WhatAGroupChangesCountsOnceTheGroupIsApplied()
    {
        SettingsTable table = new();
        Assert.Empty(table.Capture());
        Assert.True(table.TrySet("acknowledgement"u8, "semi-sync=2"u8));
        Assert.Equal(PartitionSettings.None, table.Current);
        Assert.Empty(table.Capture());
        table.Publish();
        Assert.Equal("acknowledgement=semi-sync=2", table.Current.ToString());
        byte[] captured = table.Capture();
        Assert.False(table.TrySet("retention"u8, "1h"u8));
        Assert.True(table.TrySet("acknowledgement"u8, "default"u8));
        Assert.Equal(captured, table.Capture());
        table.Publish();
        Assert.Equal(("", 0), (table.Current.ToString(), table.Capture().Length));
    }

    [Fact]
    public void TheTablesOfAPartitionComeBackFromTheirBytes()
    {
        for (int which = 0; which < 8; which++)
        {
            (SessionTable sessions, CommitTable commits, SettingsTable settings) = (new(), new(), new());
            if ((which & 1) != 0)
            {
                sessions.Open(7, 1);
                sessions.Publish(1);
            }

            if ((which & 2) != 0)
            {
                commits.Decide(new TransactionId(1, 2), new Decision(5, 9, [2]));
                commits.Publish(1);
            }

            if ((which & 4) != 0)
            {
                settings.TrySet("acknowledgement"u8, "async"u8);
                settings.Publish();
            }

            byte[] bytes = PartitionTables.Capture(sessions, commits, settings);

            // What was there before settings were is written as it was.
            int version = which switch { 0 => 0, 1 => 1, < 4 => PartitionTables.VersionWithCommits, _ => PartitionTables.VersionWithSettings };
            Assert.Equal(version, bytes.FirstOrDefault());
            (SessionTable sessionsBack, CommitTable commitsBack, SettingsTable settingsBack) = (new(), new(), new());
            Assert.True(PartitionTables.TryLoad(bytes, sessionsBack, commitsBack, settingsBack));
            Assert.Equal(sessions.Capture(), sessionsBack.Capture());
            Assert.Equal(commits.Capture(), commitsBack.Capture());
            Assert.Equal(settings.Current, settingsBack.Current);
            for (int length = 1; length < bytes.Length; length++)
            {
                Assert.False(PartitionTables.TryLoad(bytes.AsSpan(0, length), new(), new(), new()), $"{which}, {length} bytes");
            }

            Assert.True(bytes.Length == 0 || !PartitionTables.TryLoad([.. bytes, 0], new(), new(), new()));
        }
    }

    [Fact]
    public void WhatANewerBuildHasWrittenIsRefusedByItsName()
    {
        SettingsTable table = new();
        Assert.True(table.TryLoad([1, 1, 15, .. "acknowledgement"u8, 5, .. "async"u8]));
        Assert.Equal("acknowledgement=async", table.Current.ToString());
        Assert.Contains("'retention' = '1h'", Assert.Throws<StoreException>(() => new SettingsTable().TryLoad([1, 1, 9, .. "retention"u8, 2, .. "1h"u8])).Message, StringComparison.Ordinal);
        Assert.Contains("format 2", Assert.Throws<StoreException>(() => new SettingsTable().TryLoad([2, 1, 0, 0])).Message, StringComparison.Ordinal);

        // Twice the same, and one that is not set.
        Assert.False(new SettingsTable().TryLoad([1, 2, 15, .. "acknowledgement"u8, 5, .. "async"u8, 15, .. "acknowledgement"u8, 5, .. "async"u8]));
        Assert.False(new SettingsTable().TryLoad([1, 1, 15, .. "acknowledgement"u8, 7, .. "default"u8]));
        Assert.False(new SettingsTable().TryLoad([1, 0]));
    }

    [Fact]
    public void TheFileOfTheTablesNamesItsFormatAndIsRefusedIfItIsDamaged()
    {
        MemoryFileSystem files = new();
        files.CreateDirectory("/data");
        SettingsTable settings = new();
        settings.TrySet("acknowledgement"u8, "sync"u8);
        settings.Publish();
        SessionsFile.Write(files, "/data", 7, PartitionTables.Capture(new(), new(), settings));
        SettingsTable back = new();
        SessionsFile.Load(files, "/data", 7, new(), new(), back);
        Assert.Equal("acknowledgement=sync", back.Current.ToString());
        string path = "/data/" + SessionsFile.NameOf(7);
        byte[] head = new byte[10];
        using (StorageFile file = files.Open(path, writable: false))
        {
            Assert.Equal(head.Length, file.Read(0, head));
        }

        Assert.Equal(3, head[8]);
        files.Corrupt(path, 30, 1);
        Assert.Throws<CorruptionException>(() => SessionsFile.Load(files, "/data", 7, new(), new(), new()));
    }

    [Fact]
    public void ABuildThatKnowsNoSettingsRefusesTheirEntriesByTheirFirstByte()
    {
        foreach ((byte format, byte expected) in ((byte, byte)[])[(GroupEntry.Format, 1), (GroupEntry.SessionFormat, 1), (GroupEntry.CommitFormat, 1), (GroupEntry.SettingsFormat, 2)])
        {
            byte[] data = new byte[CommandEntry.HeadBytes + GroupEntry.HeaderBytes];
            GroupEntry.WriteHeader(data.AsSpan(CommandEntry.HeadBytes), format, 0, 0, 0);
            CommandEntry.WriteHead(data, 3, 4);
            Assert.Equal(expected, data[0]);
            Assert.True(CommandEntry.TryRead(data, out long node, out long group, out ReadOnlySpan<byte> payload));
            Assert.Equal((3, 4, GroupEntry.HeaderBytes), (node, group, payload.Length));
        }

        Assert.False(CommandEntry.TryRead([3, .. new byte[CommandEntry.HeadBytes]], out _, out _, out _));
    }
}
