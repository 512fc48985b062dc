using System.Globalization;
using System.Runtime.CompilerServices;
using KeyVa.Cluster.Driver;

namespace KeyVa.Cluster.Changes;

/// <summary>
/// Changes of a cluster's members, for all of its partitions and from any of its nodes: whoever leads a partition is asked again and again until the change is done there. Each partition is brought as
/// far as it goes, whatever became of the others, several at a time; a change that is repeated goes on where it ended. Thread-safe.
/// </summary>
internal sealed class ClusterChanges(ClusterDriver driver, TimeProvider time, Func<IReadOnlyList<long>> knownNodes)
{
    /// <summary>Of so many partitions at once a node that joins gets the data.</summary>
    private const int MostAtOnce = 8;

    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(20);

    /// <summary>How long an answer is waited for.</summary>
    private TimeSpan AnswerTimeout => TimeSpan.FromMilliseconds(Math.Clamp(driver.Options.ElectionTimeout, 200, 2000));

    /// <summary>How long partitions are asked of which nobody says that it leads, or a node waited for that gets nothing: since the last one of them moved on, for they share its network and its disk.</summary>
    private TimeSpan Patience => TimeSpan.FromMilliseconds(driver.Options.RequestTimeout);

    /// <summary>Makes a change in these partitions.</summary>
    public async Task<ClusterChange> ApplyAsync(ChangeRequest request, IReadOnlyList<long> partitions, CancellationToken cancellation)
    {
        var changes = new PartitionChange[partitions.Count];
        var movedOn = new StrongBox<long>(time.GetTimestamp());
        await Parallel.ForAsync(
            0,
            changes.Length,
            new ParallelOptions { MaxDegreeOfParallelism = MostAtOnce, CancellationToken = cancellation },
            async (i, end) => changes[i] = await ApplyAsync(request, partitions[i], movedOn, end).ConfigureAwait(false)).ConfigureAwait(false);
        if (Array.Find(changes, static one => one.Status != Status.Ok) is not { } first)
        {
            return new ClusterChange(Status.Ok, changes.Length == 0 ? 0 : changes[0].Leader, null) { Partitions = changes };
        }

        int done = changes.Count(static one => one.Status == Status.Ok);
        string detail = string.Create(CultureInfo.InvariantCulture, $"partition {first.Partition}: {first.Detail}{(changes.Length == 1 ? "" : $"; {done} of {changes.Length} partitions are done, and the same again goes on with the others")}");
        return new ClusterChange(first.Status, first.Leader, detail) { Partitions = changes };
    }

    /// <summary>What whoever leads a partition knows of its members; null: it did not say so at once.</summary>
    public async Task<ChangeAnswer?> TellAsync(long partition, long leader, TimeSpan limit, CancellationToken cancellation) =>
        await AskAsync(leader, partition, new ChangeRequest(ChangeKind.Tell, 0), limit, cancellation).ConfigureAwait(false) is { Outcome: ChangeOutcome.Done } answer ? answer : null;

    private async Task<PartitionChange> ApplyAsync(ChangeRequest request, long partition, StrongBox<long> movedOn, CancellationToken cancellation)
    {
        // What the change waits for.
        (ChangeOutcome Outcome, long Match) stand = default;
        long asked = driver.Options.Node;
        int others = 0;
        while (true)
        {
            ChangeAnswer? answer = await AskAsync(asked, partition, request, AnswerTimeout, cancellation).ConfigureAwait(false);
            ChangeOutcome outcome = answer?.Outcome ?? ChangeOutcome.NotLeader;
            long leader = answer?.Leader ?? 0;
            if (outcome == ChangeOutcome.Done || (outcome == ChangeOutcome.NotLeader && request.Kind == ChangeKind.Transfer && leader == request.Node))
            {
                return new PartitionChange(partition, Status.Ok, leader, null);
            }

            if (Refusal(outcome, request.Node) is { } refusal)
            {
                return new PartitionChange(partition, Status.Invalid, leader, refusal);
            }

            // A snapshot that is under way says nothing until it has arrived.
            (ChangeOutcome Outcome, long Match) now = (outcome, answer?.Members.FirstOrDefault(one => one.Node == request.Node).Match ?? 0);
            if (now != stand || outcome == ChangeOutcome.ReceivingSnapshot)
            {
                Volatile.Write(ref movedOn.Value, time.GetTimestamp());
            }

            stand = now;
            if (time.GetElapsedTime(Volatile.Read(ref movedOn.Value)) > Patience)
            {
                return new PartitionChange(partition, Status.Unavailable, leader, Late(outcome, request));
            }

            asked = outcome != ChangeOutcome.NotLeader ? asked : leader != 0 && leader != asked ? leader : Next(ref others);
            await Task.Delay(PollInterval, time, cancellation).ConfigureAwait(false);
        }
    }

    /// <summary>Whom to ask where nobody says who leads: one after the other, this node too.</summary>
    private long Next(ref int others)
    {
        IReadOnlyList<long> nodes = knownNodes();
        return nodes.Count == 0 ? driver.Options.Node : nodes[others++ % nodes.Count];
    }

    private async Task<ChangeAnswer?> AskAsync(long node, long partition, ChangeRequest request, TimeSpan limit, CancellationToken cancellation)
    {
        var question = new ChangeTraffic.Question(node, partition, request);
        driver.Changes.Ask(question);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        if (await Task.WhenAny(question.Task, Task.Delay(limit, time, end.Token)).ConfigureAwait(false) == question.Task)
        {
            await end.CancelAsync().ConfigureAwait(false);
            return await question.Task.ConfigureAwait(false);
        }

        driver.Changes.Forget(question);
        cancellation.ThrowIfCancellationRequested();
        return null;
    }

    private static string? Refusal(ChangeOutcome outcome, long node) => outcome switch
    {
        ChangeOutcome.NotVoter => string.Create(CultureInfo.InvariantCulture, $"node {node} does not vote in it, so it cannot lead; add it first"),
        ChangeOutcome.LastVoter => string.Create(CultureInfo.InvariantCulture, $"node {node} is the last one that votes, and cannot be removed"),
        ChangeOutcome.TooManyMembers => "it has as many members as it can have",
        _ => null,
    };

    private static string Late(ChangeOutcome outcome, in ChangeRequest request) => outcome switch
    {
        ChangeOutcome.CatchingUp => string.Create(CultureInfo.InvariantCulture, $"node {request.Node} gets nothing of what it lacks; see that it runs, with cluster-join, under the address that was given"),
        ChangeOutcome.NotLeader => "nobody leads it at the moment; try again when a majority of its nodes can be reached",
        _ when request.Kind == ChangeKind.Transfer => string.Create(CultureInfo.InvariantCulture, $"node {request.Node} did not take over in time; it may be behind or not reachable"),
        _ => "the change is not agreed on; see that a majority of the nodes can be reached",
    };
}
