using KeyVa.Histories;
using Xunit;

namespace KeyVa.Tests.Histories;

/// <summary>Recording, the text form, and the checkers of totals.</summary>
public sealed class HistoryTests
{
    [Fact]
    public void RegistersCanBeWrittenAndReadAgain()
    {
        RegisterRecorder recorder = new(2, Clock());
        RegisterLog log = recorder[0];
        log.BeginRead(1);
        log.End(new RegisterReply(Outcome.Ok));
        log.BeginWrite(1, 5);
        log.End(new RegisterReply(Outcome.Ok));
        log.BeginCompareAndSet(1, 5, null);
        log.End(new RegisterReply(Outcome.Ok, null, true));
        log.BeginCompareAndSet(1, null, 7);
        log.End(RegisterReply.Unknown);
        log.BeginRemove(1);
        log.End(new RegisterReply(Outcome.Ok, null, false));
        log.BeginRead(1);
        log.End(RegisterReply.Fail);
        recorder[1].BeginRemove(2);
        string text = recorder.ToHistory().ToString();
        Assert.Equal(
            """
            keyva-history registers 1
            0 1 2 ok k1 read -
            0 3 4 ok k1 write 5
            0 5 6 ok k1 cas 5 - yes
            0 7 - unknown k1 cas - 7 ?
            2 9 10 ok k1 remove no
            2 11 12 fail k1 read ?
            1 13 - unknown k2 remove ?

            """,
            text);
        RegisterHistory again = RegisterHistory.Parse(text);
        Assert.Equal(recorder.ToHistory().Operations, again.Operations);
        Assert.Throws<InvalidOperationException>(() => recorder[1].BeginRead(1));
    }

    [Fact]
    public void ListsCanBeWrittenAndReadAgain()
    {
        ListRecorder recorder = new(2, Clock());
        ListLog log = recorder[0];
        log.Begin();
        log.Append(1, 5);
        log.Read(1, [4, 5]);
        log.Read(2, []);
        log.End(Outcome.Ok);
        log.Begin();
        log.Read(1, null);
        log.End(Outcome.Unknown);
        log.Begin();
        log.End(Outcome.Fail);
        recorder[1].Begin();
        recorder[1].Append(1, 6);
        string text = recorder.ToHistory().ToString();
        Assert.Equal(
            """
            keyva-history lists 1
            0 1 2 ok a1:5 r1:4,5 r2:
            0 3 - unknown r1:?
            2 5 6 fail -
            1 7 - unknown a1:6

            """,
            text);
        Assert.Equal(text, ListHistory.Parse(text).ToString());
    }

    [Theory]
    [InlineData("keyva-history lists 2\n")]
    [InlineData("")]
    [InlineData("keyva-history lists 1\n0 1 2 ok x")]
    [InlineData("keyva-history lists 1\n0 1 2 ok a1")]
    [InlineData("keyva-history lists 1\n0 1 2 ok r1:2,x")]
    [InlineData("keyva-history lists 1\n0 1 2 maybe r1:2")]
    [InlineData("keyva-history lists 1\n0 one 2 ok r1:2")]
    [InlineData("keyva-history lists 1\n0 1 2")]
    public void OtherTextIsRefused(string text) => Assert.Throws<FormatException>(() => ListHistory.Parse(text));

    [Theory]
    [InlineData("0 1 2 ok k1 read")]
    [InlineData("0 1 2 ok 1 read 5")]
    [InlineData("0 1 2 ok k1 cas 1 2")]
    [InlineData("0 1 2 ok k1 cas 1 2 maybe")]
    [InlineData("0 1 2 ok k1 swap 1")]
    public void OtherTextOfRegistersIsRefused(string line) => Assert.Throws<FormatException>(() => RegisterHistory.Parse("keyva-history registers 1\n# why\n" + line));

    [Fact]
    public void TimesAndOutcomesMustGoTogether()
    {
        Assert.Throws<ArgumentException>(() => ListHistory.Parse("keyva-history lists 1\n0 5 2 ok a1:1"));
        Assert.Throws<ArgumentException>(() => ListHistory.Parse("keyva-history lists 1\n0 5 - ok a1:1"));
        Assert.Throws<ArgumentException>(() => RegisterHistory.Parse("keyva-history registers 1\n0 5 6 unknown k1 read ?"));
    }

    [Fact]
    public void AWorkloadFollowsFromItsSeed()
    {
        ListWorkloadOptions options = new() { Keys = 3, AppendsPerKey = 20 };
        ListWorkload[] one = ListWorkload.ForAll(7, 4, options);
        ListWorkload[] two = ListWorkload.ForAll(7, 4, options);
        HashSet<int> values = [];
        HashSet<int> keys = [];
        for (int i = 0; i < 400; i++)
        {
            ListRequest request = one[i % 4].Next();
            Assert.Equal(request.Operations, two[i % 4].Next().Operations);
            Assert.All(request.Operations.Where(static operation => operation.IsAppend), operation => Assert.True(values.Add(operation.Value)));
            keys.UnionWith(request.Operations.Select(static operation => operation.Key));
        }

        Assert.True(keys.Count > 30, $"{keys.Count} lists");
        Assert.Subset(ListWorkload.FinalReads(one).Select(static request => request.Operations[0].Key).ToHashSet(), keys);
    }

    [Fact]
    public void ABankKeepsItsTotal()
    {
        BankRead good = new(0, 1, 2, Outcome.Ok, [50, 50]);
        Assert.Null(BankChecker.Check([good, good with { Balances = [120, -20] }, good with { Outcome = Outcome.Fail, Balances = [1, 1] }], 100));
        Assert.Contains("90 instead of 100", BankChecker.Check([good, good with { Balances = [40, 50] }], 100), StringComparison.Ordinal);
        Assert.Contains("at -20", BankChecker.Check([good with { Balances = [120, -20] }], 100, mayBeNegative: false), StringComparison.Ordinal);
    }

    [Fact]
    public void ACounterStaysWithinItsBounds()
    {
        CounterOperation five = new(0, 0, 10, Outcome.Ok, false, 5);
        CounterOperation three = new(1, 20, RegisterOperation.Never, Outcome.Unknown, false, 3);
        CounterOperation minus = new(1, 20, 60, Outcome.Ok, false, -2);
        CounterOperation failed = new(1, 0, 5, Outcome.Fail, false, 100);
        CounterOperation read = new(2, 30, 40, Outcome.Ok, true, 0);
        foreach (long possible in new long[] { 3, 5, 6, 8 })
        {
            Assert.Null(CounterChecker.Check([five, three, minus, failed, read with { Amount = possible }]));
        }

        foreach (long impossible in new long[] { 0, 2, 9, 105 })
        {
            Assert.Contains("between 3 and 8", CounterChecker.Check([five, three, minus, failed, read with { Amount = impossible }]), StringComparison.Ordinal);
        }

        CounterOperation last = new(2, 70, 80, Outcome.Ok, true, 3);
        Assert.Null(CounterChecker.Check([five, minus, last]));
        Assert.NotNull(CounterChecker.Check([five, minus, last with { Amount = 5 }]));
        Assert.Null(CounterChecker.Check([five with { Invoked = 40, Completed = 90 }, read with { Amount = 5 }]));
        Assert.NotNull(CounterChecker.Check([five with { Invoked = 41, Completed = 90 }, read with { Amount = 5 }]));
    }

    private static HistoryClock Clock()
    {
        long time = 0;
        return new HistoryClock(() => ++time);
    }
}
