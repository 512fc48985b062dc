using KeyVa.Histories;
using Xunit;

namespace KeyVa.Tests.Histories;

/// <summary>One history by hand per anomaly, found under its name and at its level, and clean ones that are not accused.</summary>
public sealed class ListAppendCheckerTests
{
    [Fact]
    public void ASerialHistoryIsStrictlySerializable() => AssertClean(
        "0 0 10 ok a1:1 a2:1",
        "1 20 30 ok r1:1 a1:2 r1:1,2",
        "0 40 50 ok r1:1,2 r2:1",
        "2 60 70 fail a1:9 r1:1,2,9",
        "2 80 90 ok r1:1,2 r3:");

    [Fact]
    public void ConcurrentTransactionsMayTakeEitherOrder() => AssertClean(
        "0 0 100 ok a1:1 r2:",
        "1 0 100 ok r1:1 a2:1",
        "2 0 100 ok r1: r2:",
        "2 110 120 ok r1:1 r2:1");

    [Fact]
    public void UnknownOutcomesMayHaveHappenedOrNot() => AssertClean(
        "0 0 - unknown a1:1 a2:1",
        "1 0 - unknown a1:2 r3:?",
        "2 50 60 ok r1:1",
        "2 70 80 ok r1:1 r2:1",
        "3 90 95 ok r1:1 r2:1");

    [Fact]
    public void AnUnknownTransactionThatWasReadCountsAsCommitted() =>
        // T0 was read, so it committed, and its read of list 2 counts: T0 and T1 miss each other.
        AssertFirst(AnomalyKind.G2Item, ConsistencyModel.Serializable, "T1 -rw-> T0",
            "0 0 - unknown r2: a1:1",
            "1 0 50 ok r1: a2:1",
            "2 60 70 ok r1:1 r2:1");

    [Fact]
    public void G0() => AssertFirst(AnomalyKind.G0, ConsistencyModel.ReadUncommitted, "T0 appended 1 to list 1, and T1 2 right behind it",
        "0 0 100 ok a1:1 a2:1",
        "1 0 100 ok a1:2 a2:2",
        "2 110 120 ok r1:1,2 r2:2,1");

    [Fact]
    public void G1aAbortedRead() => AssertFirst(AnomalyKind.G1a, ConsistencyModel.ReadCommitted, "with 1 of T0, which aborted",
        "0 0 10 fail a1:1",
        "1 20 30 ok r1:1");

    [Fact]
    public void ADirtyUpdate() => AssertHas(AnomalyKind.DirtyUpdate, ConsistencyModel.ReadCommitted, "T1 appended 2 to list 1 behind 1",
        "0 0 10 fail a1:1",
        "1 20 30 ok a1:2",
        "1 40 50 ok r1:1,2");

    [Fact]
    public void G1bIntermediateRead() => AssertHas(AnomalyKind.G1b, ConsistencyModel.ReadCommitted, "in the midst of T0",
        "0 0 100 ok a1:1 a1:2",
        "1 0 100 ok r1:1",
        "1 110 120 ok r1:1,2");

    [Fact]
    public void G1cCircularInformationFlow() => AssertFirst(AnomalyKind.G1c, ConsistencyModel.ReadCommitted, "T1 -wr-> T0",
        "0 0 100 ok a1:1 r2:1",
        "1 0 100 ok a2:1 r1:1");

    [Fact]
    public void G1cThroughAWriteDependency() => AssertFirst(AnomalyKind.G1c, ConsistencyModel.ReadCommitted, "-ww->",
        "0 0 100 ok a1:1 r2:1",
        "1 0 100 ok a1:2 a2:1",
        "2 110 120 ok r1:1,2");

    [Fact]
    public void GSingleReadSkew() => AssertFirst(AnomalyKind.GSingle, ConsistencyModel.SnapshotIsolation, "T0 -rw-> T1: T0 read list 1 as [], before T1's append of 1",
        "0 0 100 ok r1: r2:1",
        "1 0 50 ok a1:1 a2:1",
        "2 110 120 ok r1:1");

    [Fact]
    public void ANonRepeatableReadIsGSingle() => AssertFirst(AnomalyKind.GSingle, ConsistencyModel.SnapshotIsolation, "T1 -wr-> T0",
        "0 0 100 ok r1: r1:1",
        "1 0 50 ok a1:1");

    [Fact]
    public void ALostUpdate() => AssertHas(AnomalyKind.LostUpdate, ConsistencyModel.SnapshotIsolation, "T1 and T2 read list 1 as [1], then each appended to it",
        "0 0 10 ok a1:1",
        "1 20 100 ok r1:1 a1:2",
        "2 20 100 ok r1:1 a1:3",
        "3 110 120 ok r1:1,2,3");

    [Fact]
    public void ALostUpdateWhoseElementIsGone()
    {
        string[] history =
        [
            "0 0 10 ok a1:1",
            "1 20 100 ok r1:1 a1:2",
            "2 20 100 ok r1:1 a1:3",
            "3 110 120 ok r1:1,3",
        ];
        AssertHas(AnomalyKind.LostUpdate, ConsistencyModel.SnapshotIsolation, "T1 and T2", history);
        Assert.True(Check(history).Has(AnomalyKind.LostAppend));
    }

    [Fact]
    public void GNonadjacent() =>
        // Long fork: T2 sees the one append, T3 the other.
        AssertFirst(AnomalyKind.GNonadjacent, ConsistencyModel.SnapshotIsolation, "a cycle of 4 transactions",
            "0 0 100 ok a1:1",
            "1 0 100 ok a2:1",
            "2 0 100 ok r1:1 r2:",
            "3 0 100 ok r1: r2:1",
            "4 110 120 ok r1:1 r2:1");

    [Fact]
    public void G2ItemWriteSkew()
    {
        string[] history =
        [
            "0 0 100 ok r1: a2:1",
            "1 0 100 ok r2: a1:1",
            "2 110 120 ok r1:1 r2:1",
        ];
        AssertFirst(AnomalyKind.G2Item, ConsistencyModel.Serializable, "T1 -rw-> T0: T1 read list 2 as [], before T0's append of 1", history);
        ListAppendResult result = Check(history);
        Assert.True(result.Satisfies(ConsistencyModel.StrongSnapshotIsolation), result.Explain());
    }

    [Fact]
    public void G2ItemOfThree() => AssertFirst(AnomalyKind.G2Item, ConsistencyModel.Serializable, "a cycle of 3 transactions",
        "0 0 100 ok r1: a2:1",
        "1 0 100 ok r2: a3:1",
        "2 0 100 ok r3: a1:1",
        "3 110 120 ok r1:1 r2:1 r3:1");

    [Fact]
    public void TheReadOnlyAnomalyOfSnapshotIsolation() =>
        // Fekete, O'Neil, O'Neil (2004): two writers are serializable until a reader looks.
        AssertFirst(AnomalyKind.G2Item, ConsistencyModel.Serializable, "a cycle of 3 transactions",
            "0 0 200 ok r1: r2: a1:1",
            "1 10 50 ok r2: a2:1",
            "2 60 70 ok r1: r2:1",
            "3 210 220 ok r1:1 r2:1");

    [Fact]
    public void AStaleReadIsNoStrictSerializability()
    {
        string[] history = ["0 0 10 ok a1:1", "1 20 30 ok r1:", "1 40 50 ok r1:1"];
        AssertFirst(AnomalyKind.GSingle, ConsistencyModel.StrongSnapshotIsolation, "T0 had ended at 10, before T1 began at 20", history);
        ListAppendResult result = Check(history);
        Assert.Equal("G-single-realtime", result.Anomalies[0].Name);
        Assert.True(result.Satisfies(ConsistencyModel.StrongSessionSerializable), result.Explain());
    }

    [Fact]
    public void AClientThatDoesNotSeeItsOwnCommit()
    {
        ListAppendResult result = Check("7 0 10 ok a1:1", "7 20 30 ok r1:", "1 40 50 ok r1:1");
        Assert.Equal("G-single-process", result.Anomalies[0].Name);
        Assert.False(result.Satisfies(ConsistencyModel.StrongSessionSnapshotIsolation));
        Assert.False(result.Satisfies(ConsistencyModel.StrictSerializable));
        Assert.True(result.Satisfies(ConsistencyModel.Serializable));
        Assert.Contains("process 7 did T0 before T1", result.Explain(), StringComparison.Ordinal);
    }

    [Fact]
    public void WriteSkewOverTimeIsNotStrict()
    {
        // T2 began after T0 had ended and must follow it, but precedes T1, which precedes T0.
        ListAppendResult result = Check("0 0 10 ok a1:1", "1 0 100 ok r1: a2:1", "2 20 30 ok r2: a3:1", "3 110 120 ok r1:1 r2:1 r3:1");
        Assert.True(result.Satisfies(ConsistencyModel.Serializable), result.Explain());
        Assert.True(result.Satisfies(ConsistencyModel.StrongSnapshotIsolation), result.Explain());
        Assert.False(result.Satisfies(ConsistencyModel.StrictSerializable));
        Assert.Equal("G2-item-realtime", Assert.Single(result.Anomalies).Name);
    }

    [Fact]
    public void ALostAppend() => AssertHas(AnomalyKind.LostAppend, ConsistencyModel.StrongSnapshotIsolation, "T1 appended 2 to list 1 and committed; then T3 read",
        "0 0 10 ok a1:1",
        "1 20 30 ok a1:2",
        "2 40 50 ok a1:3",
        "3 60 70 ok r1:1,3");

    [Fact]
    public void OwnAppendsThatAreMissing() => AssertFirst(AnomalyKind.Internal, ConsistencyModel.ReadUncommitted, "where that is missing",
        "0 0 10 ok a1:1 r1:");

    [Fact]
    public void OwnAppendsInTheMidst() => AssertFirst(AnomalyKind.Internal, ConsistencyModel.ReadCommitted, "does not end with that",
        "0 0 100 ok a1:1 r1:1,2",
        "1 0 100 ok a1:2");

    [Fact]
    public void AppendsReadBeforeTheyAreMade() => AssertFirst(AnomalyKind.Internal, ConsistencyModel.ReadUncommitted, "appended later",
        "0 0 10 ok r1:1 a1:1");

    [Theory]
    [InlineData("1 20 30 ok r1:2,1")]
    [InlineData("1 20 30 ok r1:2")]
    public void AppendsThatAreTorn(string read) => AssertFirst(AnomalyKind.TornAppends, ConsistencyModel.ReadUncommitted, "not in its order, or not all there",
        "0 0 10 ok a1:1 a1:2",
        read);

    [Fact]
    public void AnElementTwice() => AssertFirst(AnomalyKind.DuplicateElement, ConsistencyModel.ReadUncommitted, "with 1 twice",
        "0 0 10 ok a1:1",
        "1 20 30 ok r1:1,1");

    [Fact]
    public void AnElementOfNobody() => AssertFirst(AnomalyKind.GarbageRead, ConsistencyModel.ReadUncommitted, "nobody appended 5",
        "1 20 30 ok r1:5");

    [Fact]
    public void ListsThatPart()
    {
        string[] history = ["0 0 100 ok a1:1", "1 0 100 ok a1:2", "2 10 20 ok r1:1", "3 110 120 ok r1:2"];
        AssertFirst(AnomalyKind.IncompatibleOrder, ConsistencyModel.ReadUncommitted, "neither is the beginning of the other", history);
        ListAppendResult overwriting = ListAppendChecker.Check(History(history), new ListAppendOptions { AppendsMayOverwrite = true });
        Assert.True(overwriting.Satisfies(ConsistencyModel.ReadCommitted), overwriting.Explain());
        Assert.False(overwriting.Satisfies(ConsistencyModel.SnapshotIsolation));
    }

    [Fact]
    public void AnElementAppendedTwiceIsTheTestsFault() =>
        Assert.Throws<ArgumentException>(() => Check("0 0 10 ok a1:1", "1 0 10 ok a1:1"));

    internal static ListHistory History(params string[] lines) => ListHistory.Parse("keyva-history lists 1\n" + string.Join('\n', lines));

    internal static ListAppendResult Check(params string[] lines) => ListAppendChecker.Check(History(lines));

    private static void AssertClean(params string[] lines)
    {
        ListAppendResult result = Check(lines);
        Assert.True(Enum.GetValues<ConsistencyModel>().All(result.Satisfies) && result.Anomalies.Count == 0, result.Explain());
    }

    private static void AssertFirst(AnomalyKind kind, ConsistencyModel level, string because, params string[] lines)
    {
        ListAppendResult result = Check(lines);
        Assert.True(result.Anomalies.Count > 0, result.Explain());
        Assert.True(result.Anomalies[0].Kind == kind, result.Explain());
        AssertLevels(result, result.Anomalies[0], level, because);
        Assert.Equal(Enum.GetValues<ConsistencyModel>().Where(one => one < level), Enum.GetValues<ConsistencyModel>().Where(one => one < level && result.Satisfies(one)));
    }

    private static void AssertHas(AnomalyKind kind, ConsistencyModel level, string because, params string[] lines)
    {
        ListAppendResult result = Check(lines);
        Assert.True(result.Has(kind), result.Explain());
        AssertLevels(result, result.Anomalies.First(one => one.Kind == kind), level, because);
    }

    private static void AssertLevels(ListAppendResult result, Anomaly anomaly, ConsistencyModel level, string because)
    {
        Assert.True(anomaly.Violates == level, result.Explain());
        Assert.Contains(because, anomaly.Text, StringComparison.Ordinal);
        Assert.False(result.Satisfies(level));
        Assert.False(result.Satisfies(ConsistencyModel.StrictSerializable));
        Assert.Contains(anomaly.Name, result.Explain(level), StringComparison.Ordinal);
        Assert.All(anomaly.Transactions, t => Assert.Contains($"T{t} = ", anomaly.Text, StringComparison.Ordinal));
    }
}
