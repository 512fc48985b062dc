using KeyVa.Cluster.Driver;
using KeyVa.Cluster.Wire;

namespace KeyVa.Cluster.Changes;

/// <summary>
/// Questions to whoever leads a partition, and their answers. A question gets one answer, or none: it, its answer or the node that was asked may be lost, and whoever asked asks
/// again.
/// </summary>
/// <remarks>Thread-safety: <see cref="Ask"/> and <see cref="Forget"/> any thread; the rest is the driver's loop's.</remarks>
internal sealed class ChangeTraffic(ClusterDriver driver)
{
    private readonly Dictionary<long, Question> _asked = [];

    /// <summary>Asks a node, this one too. <paramref name="question"/> is answered, with null where it could not be sent, or never.</summary>
    public void Ask(Question question) => driver.Post(() =>
    {
        if (question.To == driver.Options.Node)
        {
            question.Answer(Take(question.Partition, question.Request));
            return;
        }

        question.Number = driver.NextNumber();
        _asked[question.Number] = question;
        if (!driver.SendLast(question.To, frame => frame.AddChange(question.Partition, question.Number, question.Request)))
        {
            _asked.Remove(question.Number);
            question.Answer(null);
        }
    });

    /// <summary>Nobody waits for the answer any more.</summary>
    public void Forget(Question question) => driver.Post(() => _asked.Remove(question.Number));

    /// <summary>A peer asks.</summary>
    public void Asked(long peer, in FrameItem item)
    {
        ChangeAnswer answer = Take(item.Partition, item.Change);
        (long partition, long number) = (item.Partition, item.Group);
        driver.SendLast(peer, frame => frame.AddChanged(partition, number, answer));
    }

    /// <summary>A peer answers.</summary>
    public void Answered(long peer, in FrameItem item)
    {
        if (_asked.TryGetValue(item.Group, out Question? question) && question.To == peer && question.Partition == item.Partition)
        {
            _asked.Remove(item.Group);
            question.Answer(item.Answer);
        }
    }

    private ChangeAnswer Take(long partition, in ChangeRequest request) => driver.TryUse(partition, out Replica? replica)
        ? LeaderChanges.Take(replica, request, driver.Now)
        : new ChangeAnswer(ChangeOutcome.NotLeader, 0, 0, []);

    /// <summary>One question, and its answer when it comes.</summary>
    public sealed class Question(long to, long partition, ChangeRequest request)
    {
        private readonly TaskCompletionSource<ChangeAnswer?> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public long To { get; } = to;

        public long Partition { get; } = partition;

        public ChangeRequest Request { get; } = request;

        /// <summary>The loop's.</summary>
        public long Number { get; set; }

        public Task<ChangeAnswer?> Task => _answer.Task;

        public void Answer(ChangeAnswer? answer) => _answer.TrySetResult(answer);
    }
}
