/* accl.h - the C interface of ACCL.
 *
 * A communicator joins `size` processes (ranks). Every rank makes the same collective calls in the
 * same order on a communicator; calls on different communicators are independent, and any thread
 * may make them. A call returns when this rank's part is done: its input may change, its output is
 * complete. The _start forms return at once; accl_wait finishes them.
 *
 * Counts are elements. "In place" means recv == send (allreduce, reduce, broadcast); for
 * reduce_scatter recv == send + rank*count, for allgather and gather send == recv + rank*count, for
 * scatter recv == send + rank*count (elements); these are recognised from the addresses.
 *
 * When a rank dies, stops answering or disagrees, every rank's call returns an error that names it,
 * and the communicator only gives that error from then on: destroy it. No call waits for ever.
 */
#ifndef ACCL_ACCL_H
#define ACCL_ACCL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ACCL_VERSION_MAJOR 0
#define ACCL_VERSION_MINOR 1
#define ACCL_VERSION_PATCH 0
#define ACCL_VERSION "0.1.0"

#if defined(__GNUC__)
#define ACCL_PUBLIC __attribute__((visibility("default")))
#else
#define ACCL_PUBLIC
#endif

typedef enum {
  ACCL_SUCCESS = 0,
  ACCL_INVALID_ARGUMENT = 1, /* A value that cannot be; nothing was started. */
  ACCL_INVALID_USAGE = 2,    /* Right values at the wrong time, or ranks that disagree. */
  ACCL_SYSTEM_ERROR = 3,     /* A file, socket, device or limit of this machine. */
  ACCL_REMOTE_ERROR = 4,     /* Another rank died or broke its connection. */
  ACCL_TIMEOUT = 5,          /* Nothing came within ACCL_TIMEOUT_MS. */
  ACCL_ABORTED = 6           /* A rank called accl_comm_abort. */
} accl_result_t;

typedef enum { /* NCCL's numbers. */
               ACCL_INT8 = 0,
               ACCL_UINT8 = 1,
               ACCL_INT32 = 2,
               ACCL_UINT32 = 3,
               ACCL_INT64 = 4,
               ACCL_UINT64 = 5,
               ACCL_FLOAT16 = 6,
               ACCL_FLOAT32 = 7,
               ACCL_FLOAT64 = 8,
               ACCL_BFLOAT16 = 9,
               ACCL_FLOAT8_E4M3 = 10,
               ACCL_FLOAT8_E5M2 = 11
} accl_data_type_t;

typedef enum { /* Numbers from 5 up come from accl_op_create_premul_sum. */
               ACCL_SUM = 0,
               ACCL_PROD = 1,
               ACCL_MAX = 2,
               ACCL_MIN = 3,
               ACCL_AVG = 4
} accl_op_t;

typedef struct accl_comm accl_comm_t;
typedef struct accl_request accl_request_t;
typedef struct accl_registration accl_registration_t;

/* Carries the address of the process that made it and a random secret. Hand it to all ranks by any
 * means; whoever connects without the secret is turned away. */
typedef struct {
  char bytes[128];
} accl_unique_id_t;

/* Options of a communicator. Zero means "the default" for every field; set `size` to
 * sizeof(accl_config_t). Strings may be NULL. */
typedef struct {
  size_t size;
  const char* algorithm; /* "auto", "ring", "hd", ...: one that the collective has. */
  const char* transport; /* "auto", "shm", "tcp", "ucx", "verbs". */
  int timeout_ms;        /* Longest wait for a peer; otherwise ACCL_TIMEOUT_MS or 30000. */
} accl_config_t;

ACCL_PUBLIC const char* accl_version(void);
ACCL_PUBLIC const char* accl_result_name(accl_result_t result);

/* What went wrong last: on this communicator, or with comm NULL in this thread. Never NULL; valid
 * until the next call with the same argument. */
ACCL_PUBLIC const char* accl_last_error(const accl_comm_t* comm);

/* --- Communicators ------------------------------------------------------------------------- */

ACCL_PUBLIC accl_result_t accl_get_unique_id(accl_unique_id_t* id);

/* Collective over all ranks of the id. config may be NULL. */
ACCL_PUBLIC accl_result_t accl_comm_create(accl_comm_t** comm, int size, const accl_unique_id_t* id,
                                           int rank, const accl_config_t* config);

/* The same with rank, size and root found in the environment: ACCL_RANK, ACCL_WORLD_SIZE and
 * ACCL_ROOT (host:port), or what mpirun (Open MPI, MPICH), srun or torchrun set. */
ACCL_PUBLIC accl_result_t accl_comm_create_from_environment(accl_comm_t** comm,
                                                            const accl_config_t* config);

/* Collective over `comm`. Ranks of one colour form a communicator, ordered by key, then rank.
 * A negative colour gives *newcomm NULL. */
ACCL_PUBLIC accl_result_t accl_comm_split(accl_comm_t* comm, int color, int key,
                                          accl_comm_t** newcomm);

/* From any thread, also while others are inside a call: those return ACCL_ABORTED, here and on
 * every other rank. The communicator must still be destroyed. */
ACCL_PUBLIC accl_result_t accl_comm_abort(accl_comm_t* comm);
ACCL_PUBLIC accl_result_t accl_comm_destroy(accl_comm_t* comm); /* NULL is fine. */

ACCL_PUBLIC accl_result_t accl_comm_rank(const accl_comm_t* comm, int* rank);
ACCL_PUBLIC accl_result_t accl_comm_size(const accl_comm_t* comm, int* size);

/* --- Collectives --------------------------------------------------------------------------- */

/* recv[i] = op over ranks of send[i], on every rank; `count` elements. */
ACCL_PUBLIC accl_result_t accl_allreduce(const void* send, void* recv, size_t count,
                                         accl_data_type_t type, accl_op_t op, accl_comm_t* comm);
/* send: size*count elements; recv: block `rank` of the reduction, count elements. */
ACCL_PUBLIC accl_result_t accl_reduce_scatter(const void* send, void* recv, size_t count,
                                              accl_data_type_t type, accl_op_t op,
                                              accl_comm_t* comm);
/* send: count elements; recv: size*count, ordered by rank. */
ACCL_PUBLIC accl_result_t accl_allgather(const void* send, void* recv, size_t count,
                                         accl_data_type_t type, accl_comm_t* comm);
/* send is read at the root only; recv may be send there. */
ACCL_PUBLIC accl_result_t accl_broadcast(const void* send, void* recv, size_t count,
                                         accl_data_type_t type, int root, accl_comm_t* comm);
/* recv is written at the root only, and may be NULL elsewhere. */
ACCL_PUBLIC accl_result_t accl_reduce(const void* send, void* recv, size_t count,
                                      accl_data_type_t type, accl_op_t op, int root,
                                      accl_comm_t* comm);
/* Block b of send (count elements) goes to rank b; block b of recv comes from rank b. */
ACCL_PUBLIC accl_result_t accl_alltoall(const void* send, void* recv, size_t count,
                                        accl_data_type_t type, accl_comm_t* comm);
/* Counts and offsets in elements, `size` of each. */
ACCL_PUBLIC accl_result_t accl_alltoallv(const void* send, const size_t* send_counts,
                                         const size_t* send_offsets, void* recv,
                                         const size_t* recv_counts, const size_t* recv_offsets,
                                         accl_data_type_t type, accl_comm_t* comm);
/* send: count elements; recv: size*count at the root only, NULL elsewhere is fine. */
ACCL_PUBLIC accl_result_t accl_gather(const void* send, void* recv, size_t count,
                                      accl_data_type_t type, int root, accl_comm_t* comm);
/* send: size*count at the root only, NULL elsewhere is fine; recv: count elements. */
ACCL_PUBLIC accl_result_t accl_scatter(const void* send, void* recv, size_t count,
                                       accl_data_type_t type, int root, accl_comm_t* comm);
ACCL_PUBLIC accl_result_t accl_barrier(accl_comm_t* comm);

/* Point to point: the n-th send to a peer meets that peer's n-th recv from here. */
ACCL_PUBLIC accl_result_t accl_send(const void* send, size_t count, accl_data_type_t type, int peer,
                                    accl_comm_t* comm);
ACCL_PUBLIC accl_result_t accl_recv(void* recv, size_t count, accl_data_type_t type, int peer,
                                    accl_comm_t* comm);
/* Both at once, so that a ring or an exchange cannot deadlock. */
ACCL_PUBLIC accl_result_t accl_sendrecv(const void* send, size_t send_count, int to, void* recv,
                                        size_t recv_count, int from, accl_data_type_t type,
                                        accl_comm_t* comm);

/* --- Asynchronous ---------------------------------------------------------------------------- */

/* Starts an allreduce; both buffers belong to the library until accl_wait or a true accl_test.
 * Every request must be waited for or tested to completion. */
ACCL_PUBLIC accl_result_t accl_allreduce_start(const void* send, void* recv, size_t count,
                                               accl_data_type_t type, accl_op_t op,
                                               accl_comm_t* comm, accl_request_t** request);
ACCL_PUBLIC accl_result_t accl_reduce_scatter_start(const void* send, void* recv, size_t count,
                                                    accl_data_type_t type, accl_op_t op,
                                                    accl_comm_t* comm, accl_request_t** request);
ACCL_PUBLIC accl_result_t accl_allgather_start(const void* send, void* recv, size_t count,
                                               accl_data_type_t type, accl_comm_t* comm,
                                               accl_request_t** request);
ACCL_PUBLIC accl_result_t accl_broadcast_start(const void* send, void* recv, size_t count,
                                               accl_data_type_t type, int root, accl_comm_t* comm,
                                               accl_request_t** request);
ACCL_PUBLIC accl_result_t accl_wait(accl_request_t* request);            /* Frees the request. */
ACCL_PUBLIC accl_result_t accl_test(accl_request_t* request, int* done); /* Frees it when done. */

/* --- Memory and operations ----------------------------------------------------------------- */

/* Memory that the ranks of one host can read in each other: collectives on it copy less. Page
 * aligned. Any communicator may use it. */
ACCL_PUBLIC accl_result_t accl_alloc(void** memory, size_t bytes);
ACCL_PUBLIC accl_result_t accl_free(void* memory); /* NULL is fine. */

/* Makes memory of any other origin known to the network devices that carry this communicator's
 * messages, so that large ones are sent from where they lie. Worth it for memory of many calls: it
 * takes long, and the pages stay locked. Where no device has a use for it (transports shm, tcp and
 * ucx) nothing is done, and it succeeds. Only this rank calls it; other communicators, those split
 * off too, need a registration of their own. The same range, or one inside or across it, may be
 * registered again: each registration ends by itself, and the memory is known until the last.
 * ACCL_SYSTEM_ERROR: a device refuses the memory, mostly by the limit `ulimit -l`, or there is
 * none.
 *
 * Deregister memory before it is freed or unmapped, also after the communicator failed: else
 * devices send the old pages in place of what is mapped there later. accl_free may come first. */
ACCL_PUBLIC accl_result_t accl_register(accl_comm_t* comm, void* memory, size_t bytes,
                                        accl_registration_t** registration);
/* Waits for a call that another thread makes. ACCL_INVALID_USAGE, and nothing is done, while a
 * started call uses the memory: wait for that first. Destroying the communicator ends what was
 * registered with it; its registrations may be given back before or after. NULL is fine. The words
 * for an error are those of accl_last_error(NULL). */
ACCL_PUBLIC accl_result_t accl_deregister(accl_registration_t* registration);

/* An operation that multiplies each rank's input by *scalar (of this type) and sums. */
ACCL_PUBLIC accl_result_t accl_op_create_premul_sum(accl_op_t* op, const void* scalar,
                                                    accl_data_type_t type, accl_comm_t* comm);
ACCL_PUBLIC accl_result_t accl_op_destroy(accl_op_t op, accl_comm_t* comm);

#ifdef __cplusplus
}
#endif

#endif /* ACCL_ACCL_H */
